"""Small torch references of public video and image transformers, with the names of their weights.

Written for reading, from the published descriptions; slow, evaluation only.
"""

import torch
from torch import nn
from torch.nn import functional as F


class Attention(nn.Module):

  def __init__(self, dim, heads, bias=True, scale=None):
    super().__init__()
    self.heads, self.scale = heads, scale or (dim // heads) ** -0.5
    self.qkv, self.proj = nn.Linear(dim, 3 * dim, bias=bias), nn.Linear(dim, dim)

  def forward(self, x, change=lambda z: z):
    q, k, v = self.qkv(x).chunk(3, -1)
    k, v = change(k), change(v)
    out, d = [], x.shape[-1] // self.heads
    for h in range(self.heads):
      part = slice(h * d, (h + 1) * d)
      weights = torch.softmax(self.scale * q[..., part] @ k[..., part].mT, -1)
      out.append(weights @ v[..., part])
    return self.proj(torch.cat(out, -1))


class Mlp(nn.Module):

  def __init__(self, dim, ratio, act=F.gelu):
    super().__init__()
    self.fc1, self.fc2, self.act = nn.Linear(dim, int(dim * ratio)), nn.Linear(int(dim * ratio), dim), act

  def forward(self, x):
    return self.fc2(self.act(self.fc1(x)))


class Block(nn.Module):

  def __init__(self, dim, heads, ratio=4, bias=True, eps=1e-6, scale=None):
    super().__init__()
    self.norm1, self.norm2 = nn.LayerNorm(dim, eps), nn.LayerNorm(dim, eps)
    self.attn, self.mlp = Attention(dim, heads, bias, scale), Mlp(dim, ratio)

  def forward(self, x, change=lambda z: z):
    x = x + self.attn(self.norm1(x), change)
    return x + self.mlp(self.norm2(x))


class DividedBlock(Block):

  def __init__(self, dim, heads):
    super().__init__(dim, heads)
    self.temporal_norm1, self.temporal_attn = nn.LayerNorm(dim, 1e-6), Attention(dim, heads)
    self.temporal_fc = nn.Linear(dim, dim)

  def forward(self, cls, x):
    """cls (B, D), x (B, T, S, D)."""
    x = x.clone()
    for s in range(x.shape[2]):
      x[:, :, s] = x[:, :, s] + self.temporal_fc(self.temporal_attn(self.temporal_norm1(x[:, :, s].clone())))
    parts = [torch.cat([cls[:, None], x[:, t]], 1) for t in range(x.shape[1])]
    moves = [self.attn(self.norm1(p)) for p in parts]
    x = torch.stack([x[:, t] + moves[t][:, 1:] for t in range(x.shape[1])], 1)
    cls = cls + sum(m[:, 0] for m in moves) / len(moves)
    return cls + self.mlp(self.norm2(cls)), x + self.mlp(self.norm2(x))


class _Trunk(nn.Module):

  def __init__(self, image, patch, dim, classes):
    super().__init__()
    self.patch_embed = nn.Module()
    self.patch_embed.proj = nn.Conv2d(3, dim, patch, patch)
    self.cls_token = nn.Parameter(torch.zeros(1, 1, dim))
    self.pos_embed = nn.Parameter(torch.zeros(1, 1 + (image // patch) ** 2, dim))
    self.norm, self.head = nn.LayerNorm(dim, 1e-6), nn.Linear(dim, classes)

  def patches(self, x):
    """(B, C, T, H, W) -> (B, T, S, D), positions added."""
    frames = [self.patch_embed.proj(x[:, :, t]).flatten(2).mT for t in range(x.shape[2])]
    return torch.stack(frames, 1) + self.pos_embed[:, None, 1:]


class TimeSformer(nn.Module):

  def __init__(self, kind, image, patch, dim, depth, heads, frames, classes):
    super().__init__()
    self.kind, m = kind, _Trunk(image, patch, dim, classes)
    m.blocks = nn.ModuleList([DividedBlock(dim, heads) if kind == "divided" else Block(dim, heads)
                              for _ in range(depth)])
    if kind != "space":
      m.time_embed = nn.Parameter(torch.zeros(1, frames, dim))
    self.model = m

  def forward(self, x):
    m, b = self.model, len(x)
    x = m.patches(x)
    cls = (m.cls_token + m.pos_embed[:, :1]).expand(b, -1, -1)
    if self.kind != "space":
      x = x + m.time_embed[:, :, None]
    if self.kind == "divided":
      cls = cls[:, 0]
      for block in m.blocks:
        cls, x = block(cls, x)
      return m.head(m.norm(cls))
    if self.kind == "joint":
      x = torch.cat([cls, x.flatten(1, 2)], 1)
      for block in m.blocks:
        x = block(x)
      return m.head(m.norm(x[:, 0]))
    total = 0
    for t in range(x.shape[1]):
      y = torch.cat([cls, x[:, t]], 1)
      for block in m.blocks:
        y = block(y)
      total = total + y[:, 0] / x.shape[1]
    return m.head(m.norm(total))


class XViT(nn.Module):

  def __init__(self, image, patch, dim, depth, heads, frames, part, classes):
    super().__init__()
    self.part, m = part, _Trunk(image, patch, dim, classes)
    del m.head
    m.blocks = nn.ModuleList([Block(dim, heads) for _ in range(depth)])
    m.temp_embed = nn.Parameter(torch.zeros(1, frames, 1, dim))
    self.base_model, self.new_fc = m, nn.Linear(dim, classes)
    c = self.consensus = nn.Module()
    c.cls_token = nn.Parameter(torch.zeros(1, 1, dim))
    c.temporal_encoder = nn.Sequential(Block(dim, heads, bias=False, eps=1e-5))
    c.mlp_head = nn.Sequential(nn.LayerNorm(dim), nn.Linear(dim, dim), nn.GELU(), nn.Dropout(0.5),
                               nn.Linear(dim, classes))

  def shift(self, z):
    """(B, T, N, D): the first eighth from the next frame, the second from the last one."""
    out, fold = z.clone(), z.shape[-1] // 8
    for t in range(z.shape[1]):
      after, before = (t + 1) % self.part != 0, t % self.part != 0
      out[:, t, :, :fold] = z[:, t + 1, :, :fold] if after else 0
      out[:, t, :, fold:2 * fold] = z[:, t - 1, :, fold:2 * fold] if before else 0
    return out

  def forward(self, x):
    m, c, b = self.base_model, self.consensus, len(x)
    x = m.patches(x)
    cls = (m.cls_token + m.pos_embed[:, :1])[:, None].expand(b, x.shape[1], -1, -1)
    x = torch.cat([cls, x], 2) + m.temp_embed
    for block in m.blocks:
      x = block(x, self.shift)
    x = torch.cat([c.cls_token.expand(b, -1, -1), m.norm(x)[:, :, 0]], 1)
    return c.mlp_head(c.temporal_encoder(x)[:, 0])


class CvT(nn.Module):

  def __init__(self, dims, depths, heads, classes):
    super().__init__()
    self.dims, self.depths, self.heads = dims, depths, heads
    for s, dim in enumerate(dims):
      stage = nn.Module()
      stage.patch_embed = nn.Module()
      stage.patch_embed.proj = nn.Conv2d(dims[s - 1] if s else 3, dim, (7, 3, 3)[s], (4, 2, 2)[s], (2, 1, 1)[s])
      stage.patch_embed.norm = nn.LayerNorm(dim)
      stage.blocks = nn.ModuleList([self.block(dim) for _ in range(depths[s])])
      setattr(self, f"stage{s}", stage)
    self.stage2.cls_token = nn.Parameter(torch.zeros(1, 1, dims[-1]))
    self.norm, self.head = nn.LayerNorm(dims[-1]), nn.Linear(dims[-1], classes)

  @staticmethod
  def block(dim):
    b = nn.Module()
    b.norm1, b.norm2, b.attn = nn.LayerNorm(dim), nn.LayerNorm(dim), nn.Module()
    for x, stride in (("q", 1), ("k", 2), ("v", 2)):
      conv = nn.Sequential()
      conv.add_module("conv", nn.Conv2d(dim, dim, 3, stride, 1, groups=dim, bias=False))
      conv.add_module("bn", nn.BatchNorm2d(dim))
      setattr(b.attn, f"conv_proj_{x}", conv)
      setattr(b.attn, f"proj_{x}", nn.Linear(dim, dim))
    b.attn.proj = nn.Linear(dim, dim)
    b.mlp = Mlp(dim, 4, lambda z: z * torch.sigmoid(1.702 * z))
    return b

  def attention(self, a, x, cls, heads):
    """x (B, D, H, W), cls (B, n, D) with n = 0 or 1 -> (B, n + H W, D)."""
    q, k, v = (getattr(a, f"proj_{n}")(torch.cat([cls, getattr(a, f"conv_proj_{n}")(x).flatten(2).mT], 1))
               for n in "qkv")
    split = lambda z: z.unflatten(-1, (heads, -1)).transpose(1, 2)
    weights = torch.softmax(split(q) @ split(k).mT * q.shape[-1] ** -0.5, -1)
    return a.proj((weights @ split(v)).transpose(1, 2).flatten(2))

  def forward(self, x):
    for s in range(len(self.dims)):
      stage = getattr(self, f"stage{s}")
      x = stage.patch_embed.proj(x)
      h, w = x.shape[2:]
      x = stage.patch_embed.norm(x.flatten(2).mT)
      n = int(hasattr(stage, "cls_token"))
      if n:
        x = torch.cat([stage.cls_token.expand(len(x), -1, -1), x], 1)
      for b in stage.blocks:
        y = b.norm1(x)
        x = x + self.attention(b.attn, y[:, n:].mT.unflatten(-1, (h, w)), y[:, :n], self.heads[s])
        x = x + b.mlp(b.norm2(x))
      cls, x = x[:, 0], x[:, n:].mT.unflatten(-1, (h, w))
    return self.head(self.norm(cls))


class Bottleneck(nn.Module):

  def __init__(self, i, o):
    super().__init__()
    self.conv1, self.bn1 = nn.Conv2d(i, 64, 1, bias=False), nn.BatchNorm2d(64)
    self.conv2, self.bn2 = nn.Conv2d(64, 64, 3, 1, 1, bias=False), nn.BatchNorm2d(64)
    self.conv3, self.bn3 = nn.Conv2d(64, o, 1, bias=False), nn.BatchNorm2d(o)
    self.downsample = nn.Sequential(nn.Conv2d(i, o, 1, bias=False), nn.BatchNorm2d(o)) if i != o else nn.Identity()

  def forward(self, x):
    y = F.relu(self.bn1(self.conv1(x)))
    y = F.relu(self.bn2(self.conv2(y)))
    return F.relu(self.bn3(self.conv3(y)) + self.downsample(x))


class PSViT(nn.Module):

  def __init__(self, image, points, dim, samplings, depth, heads, widths, classes):
    super().__init__()
    self.size = image // 4
    step = self.size / points
    centres = torch.tensor([i * step for i in range(points)]) + step / 2
    self.register_buffer("point_coord",
                         torch.stack([centres.repeat(points), centres.repeat_interleave(points)], 1)[None])
    self.pos_layer = nn.Linear(2, dim)
    self.stem = nn.Sequential(nn.Conv2d(3, 64, 7, 2, 3, bias=False), nn.BatchNorm2d(64), nn.ReLU(),
                              nn.MaxPool2d(3, 2, 1), Bottleneck(64, widths[0]), Bottleneck(widths[0], widths[1]))
    block = lambda: Block(dim, heads, 3, False, 1e-5, dim ** -0.5)
    self.ps_layers = nn.ModuleList()
    for i in range(samplings):
      layer = nn.Module()
      layer.transformer_layer, layer.position_layer = block(), self.pos_layer
      if i < samplings - 1:
        layer.offset_layer = nn.Linear(dim, 2)
      self.ps_layers.append(layer)
    self.trans_layers = nn.ModuleList([block() for _ in range(depth - samplings)])
    self.cls_token = nn.Parameter(torch.zeros(1, 1, dim))
    self.norm, self.head = nn.LayerNorm(dim), nn.Linear(dim, classes)

  def forward(self, x):
    x = self.stem(x)
    point = self.point_coord.expand(len(x), -1, -1)
    offset, out = torch.zeros_like(point), 0
    for i, layer in enumerate(self.ps_layers):
      at = (point + offset).flip(-1)  # x, y; a pixel's centre at its index: grid_sample's corners
      y = F.grid_sample(x, 2 * at[:, :, None] / (self.size - 1) - 1, align_corners=True)[..., 0].mT
      point = point + offset.detach()
      out = layer.transformer_layer(y + self.pos_layer(point / self.size) + out)
      if i < len(self.ps_layers) - 1:
        offset = layer.offset_layer(out)
    x = torch.cat([self.cls_token.expand(len(x), -1, -1), out], 1)
    for block in self.trans_layers:
      x = block(x)
    return self.head(self.norm(x)[:, 0])


class BERT(nn.Module):

  def __init__(self, vocab, positions, dim, depth, heads):
    super().__init__()
    e, norm = nn.Module(), lambda: nn.LayerNorm(dim, 1e-12)
    self.heads = heads
    e.word_embeddings, e.position_embeddings = nn.Embedding(vocab, dim), nn.Embedding(positions, dim)
    e.token_type_embeddings, e.LayerNorm = nn.Embedding(2, dim), norm()
    self.embeddings, self.encoder, self.pooler = e, nn.Module(), nn.Module()
    self.encoder.layer = nn.ModuleList()
    for _ in range(depth):
      layer = nn.Module()
      layer.attention, layer.intermediate, layer.output = nn.Module(), nn.Module(), nn.Module()
      layer.attention.self, layer.attention.output = nn.Module(), nn.Module()
      for name in ("query", "key", "value"):
        setattr(layer.attention.self, name, nn.Linear(dim, dim))
      layer.attention.output.dense, layer.attention.output.LayerNorm = nn.Linear(dim, dim), norm()
      layer.intermediate.dense = nn.Linear(dim, 4 * dim)
      layer.output.dense, layer.output.LayerNorm = nn.Linear(4 * dim, dim), norm()
      self.encoder.layer.append(layer)
    self.pooler.dense = nn.Linear(dim, dim)

  def forward(self, text, mask, segments):
    e = self.embeddings
    x = e.word_embeddings(text) + e.token_type_embeddings(segments)
    x = e.LayerNorm(x + e.position_embeddings(torch.arange(text.shape[1])))
    far = torch.where(mask, 0.0, -1e9)[:, None, None]
    for layer in self.encoder.layer:
      a, o = layer.attention.self, layer.attention.output
      q, k, v = (f(x).unflatten(-1, (self.heads, -1)).transpose(1, 2) for f in (a.query, a.key, a.value))
      y = (torch.softmax(q @ k.mT / q.shape[-1] ** 0.5 + far, -1) @ v).transpose(1, 2).flatten(2)
      x = o.LayerNorm(x + o.dense(y))
      x = layer.output.LayerNorm(x + layer.output.dense(F.gelu(layer.intermediate.dense(x))))
    return x, torch.tanh(self.pooler.dense(x[:, 0]))
