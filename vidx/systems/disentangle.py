"""Identity from one image, pose from another: two encoders, a decoder, and critics of images and of pairs.

Xiao: "Multimodal Learning with Minimal Human Supervision", 2020, chapter 5. Frames of
one clip share the identity, nearest neighbours among other videos share the pose,
so triplets (identity, pose, target) need no labels. Critics are named `critic_...`, so
that `task.name = "generation"` can train them against everything else.
"""

from typing import Any

from flax import linen as nn
import jax
import jax.numpy as jnp

from vidx import errors
from vidx.backbones.chain import as_clip
from vidx.nn import adversarial, choices
from vidx.nn.image_critic import MultiScaleCritic
from vidx.nn.image_generator import ImageDecoder, ImageEncoder
from vidx.nn.pixel_verification import NORMS, verification_loss
from vidx.systems import perceptual


class Generative(nn.Module):
  """What systems that make images share: they see triplets, and in training give the terms of both sides.

  A subclass defines `generate(identity, pose)` and `compete(identity, pose, target, instances)`.
  """

  inputs = ("video", "instances")
  pixels = ((0.5,) * 3, (0.5,) * 3)  # mean and std, for -1..1
  held = ("^perception/",)  # of those that have one; nothing in it is trained

  @nn.nowrap
  def site_names(self) -> tuple[str, ...]:
    """None: there is no trunk into which blocks could be plugged."""
    return ()

  def __call__(self, video: jax.Array, instances: jax.Array | None = None, pose_cluster: jax.Array | None = None,
               train: bool = False) -> dict[str, Any]:
    """Makes the identity of one image in the pose of another.

    Args:
      video: (B, 3, H, W, 3) in -1..1: the images of identity, of pose, and the target, which
        only training needs: (B, 2, H, W, 3) otherwise.
      instances: (B, 2) int32, clips of the first two images, -1 where unknown; None: unknown.
      pose_cluster: (B,) int32, cluster of the image of pose, for systems that have it among their `inputs`.
      train: gives the terms of the losses as well.

    Returns:
      {'image': fp32 (B, H, W, 3) in -1..1}, and in training {'generator', 'critic'}: for both
      sides of the game {term: fp32 (B,)}, unweighted.

    Raises:
      ConfigError: images of a size that does not come back, see `check_size`.
    """
    video = as_clip(video, stills=False)
    self.check_size(*video.shape[2:4])
    if instances is None:
      instances = jnp.full((len(video), 2), -1, jnp.int32)
    pose = self.pose(video[:, 1], pose_cluster)
    if not (train or self.is_initializing()):
      return {"image": self.generate(video[:, 0], pose)}
    if video.shape[1] < 3:
      raise ValueError("training takes triplets (B, 3, H, W, 3): identity, pose and target")
    return self.compete(video[:, 0], pose, video[:, 2], instances)

  @nn.nowrap
  def check_size(self, height: int, width: int) -> None:
    """Raises ConfigError where halvings do not part the sides evenly, or leave too little of them.

    Normalisation of a code takes 2x2 pixels at least, mirrored borders 4, and there are the critics' scales and the
    layers of the distance.
    """
    unit = 2 ** self.downs
    least = max(2 * unit, 4, 2 ** getattr(self, "scales", 1), perceptual.least(getattr(self, "distance", "l1")))
    if height % unit or width % unit or min(height, width) < least:
      raise errors.ConfigError(f"images of {width}x{height} pixels cannot be made with system.downs={self.downs}: set"
                               f" data.crop to a multiple of {unit} that is at least {-(-least // unit) * unit}.")

  @nn.nowrap
  def pose(self, image: jax.Array, cluster: jax.Array | None) -> jax.Array:
    """What `generate` and `compete` are given as the pose: the image (B, H, W, 3) itself."""
    del cluster
    return image


class Disentangle(Generative):
  """The generator G(E_i(identity), E_p(pose)) and its critics.

  Attributes:
    clips: training clips, the classes of the auxiliary heads; 0: none.
    width: channels of the encoders' first layer.
    downs: halvings of the image in the encoders.
    blocks: residual blocks of the decoder.
    critic_width: channels of the critics' first layer.
    scales: of the critics.
    patches: critics score patches, as those of pix2pixHD.
    distance: of images: 'vgg19', 'vgg16' or 'l1'; see vidx/systems/perceptual.py.
    gan: 'logistic' or 'lsgan'.
    reconstruct: whether both images are made again of their own codes (second part of L_dis).
    verify: whether pixels are verified (L_pv).
    wrong_pair: the critic of pairs also learns that a real image of another clip is no pair.
    matching: whether there is a term 'features' of feature matching, as in pix2pixHD.
    pose_norm: instance normalisation in the encoder of poses.
    pvm_norm, pvm_tau, pvm_stride, pvm_chunk: see vidx/nn/pixel_verification.py.
    remat: the decoder keeps less for the backward pass, and makes it again.
    dtype: compute dtype; None is fp32.
  """

  clips: int = 0
  width: int = 64
  downs: int = 3
  blocks: int = 9
  critic_width: int = 64
  scales: int = 2
  patches: bool = False
  distance: str = "vgg19"
  gan: str = "logistic"
  reconstruct: bool = True
  verify: bool = True
  wrong_pair: bool = False
  matching: bool = False
  pose_norm: bool = True
  pvm_norm: str = "cosine"
  pvm_tau: float = 0.05
  pvm_stride: int = 1
  pvm_chunk: int = 1024
  remat: bool = False
  dtype: jnp.dtype | None = None

  def __post_init__(self):
    choices.check("distance", self.distance, perceptual.DISTANCES)
    choices.check("gan", self.gan, adversarial.FORMS)
    choices.check("pvm_norm", self.pvm_norm, NORMS)
    super().__post_init__()

  def setup(self):
    self.identity_encoder = ImageEncoder(self.width, self.downs, False, self.dtype)
    self.pose_encoder = ImageEncoder(self.width, self.downs, self.pose_norm, self.dtype)
    self.decoder = ImageDecoder(self.width, self.downs, self.blocks, self.remat, self.dtype)
    critic = lambda: MultiScaleCritic(self.scales, self.patches, self.critic_width, self.clips, self.dtype)
    self.critic_image, self.critic_pair = critic(), critic()
    self.perception = perceptual.distance(self.distance, self.dtype)

  def generate(self, identity: jax.Array, pose: jax.Array) -> jax.Array:
    """(B, H, W, 3) twice -> fp32 (B, H, W, 3), all in -1..1."""
    return self.decoder(jnp.concatenate([self.identity_encoder(identity), self.pose_encoder(pose)], -1))[0]

  def compete(self, identity: jax.Array, pose: jax.Array, target: jax.Array, instances: jax.Array) -> dict[str, Any]:
    """The outputs of training, see `Generative.__call__`."""
    size = len(identity)
    again = self.reconstruct or self.verify  # what verifies needs features of the identity image
    both = lambda encoder, first, second: encoder(jnp.concatenate([first, second]) if again else first)
    who, how = both(self.identity_encoder, identity, pose), both(self.pose_encoder, pose, identity)
    codes = [jnp.concatenate([who[:size], how[:size]], -1)]
    if again:
      codes.append(jnp.concatenate([who[:size], how[size:]], -1))
    if self.reconstruct:
      codes.append(jnp.concatenate([who[size:], how[:size]], -1))
    images, last = self.decoder(jnp.concatenate(codes))
    image = images[:size]
    wanted = jnp.concatenate([target, *([identity, pose] if self.reconstruct else [])])
    far = self.perception(images[:len(wanted)], wanted).reshape(-1, size)
    generator = {"target": far[0]} | ({"again": far[1] + far[2]} if self.reconstruct else {})
    if self.verify:
      generator["pixels"] = verification_loss(
          last[:size], last[size:2 * size], identity, image, norm=self.pvm_norm, tau=self.pvm_tau,
          stride=self.pvm_stride, chunk=self.pvm_chunk)
    against, critic = self._game(identity, pose, target, image, instances)
    return {"image": image, "generator": {**generator, **against}, "critic": critic}

  def _game(self, identity, pose, target, image, instances):
    """The terms of the game: those of the generator, those of the critics."""
    pair = lambda x: jnp.concatenate([identity, x], -1)
    image = image.astype(target.dtype)
    single = adversarial.halves(self.critic_image(jnp.concatenate([target, image])))
    pairs = [pair(target), pair(image), *([pair(pose)] if self.wrong_pair else [])]
    double = adversarial.halves(self.critic_pair(jnp.concatenate(pairs)), len(pairs))
    judged = lambda seen, real: adversarial.verdict(seen, real, self.gan)
    generator = {"gan_image": judged(single[1], True), "gan_pair": judged(double[1], True)}
    critic = {"gan_image": judged(single[0], True) + judged(single[1], False),
              "gan_pair": judged(double[0], True) + sum(judged(seen, False) for seen in double[1:])}
    if self.clips:
      known = lambda i: sum(adversarial.recognition(seen[i], instances[:, 0]) for seen in (single, double))
      generator["clip"], critic["clip"] = known(1), known(0)
    if self.matching:
      generator["features"] = sum(adversarial.feature_matching(seen[1], seen[0]) for seen in (single, double))
    return generator, critic
