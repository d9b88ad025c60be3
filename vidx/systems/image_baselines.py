"""Baselines of chapter 5 that make images of two: pix2pixHD, DrNet and FusionImage.

Wang et al.: "High-Resolution Image Synthesis and Semantic Manipulation with
Conditional GANs", 2018; Denton and Birodkar: "Unsupervised Learning of Disentangled
Representations from Video", 2017; Joo et al.: "Generating a Fusion Image: One's Identity
and Another's Shape", 2018. The last two have the encoders, decoder and critics of
vidx/systems/disentangle.py, and losses of their own (Xiao 2020, chapter 5).
"""

from typing import Any

from flax import linen as nn
import jax
import jax.numpy as jnp

from vidx.nn import adversarial, choices
from vidx.nn.image_critic import MultiScaleCritic, ScalarCritic
from vidx.nn.image_generator import ImageDecoder, ImageEncoder
from vidx.systems import perceptual
from vidx.systems.disentangle import Generative


class Pix2PixHD(Generative):
  """Both images behind each other in channels go through one network; critics score patches.

  Attributes:
    width: channels of the first layer.
    downs: halvings of the image.
    blocks: residual blocks.
    critic_width: channels of the critics' first layer.
    scales: of the critics.
    poses: clusters of poses, as `vidx data triplets` makes them: the one-hot code of its cluster, the same at every
      pixel, takes the place of the image of pose (Xiao 2020, section 5.3, footnote 1), and the first layer has no
      normalisation, which would take the code out again; 0: the image itself.
    distance: see vidx/systems/perceptual.py.
    gan: 'lsgan' or 'logistic'.
    remat: see ImageDecoder.
    dtype: compute dtype; None is fp32.
  """

  width: int = 64
  downs: int = 4
  blocks: int = 9
  critic_width: int = 64
  scales: int = 2
  poses: int = 0
  distance: str = "vgg19"
  gan: str = "lsgan"
  remat: bool = False
  dtype: jnp.dtype | None = None

  def __post_init__(self):
    choices.check("distance", self.distance, perceptual.DISTANCES)
    choices.check("gan", self.gan, adversarial.FORMS)
    super().__post_init__()

  def setup(self):
    self.encoder = ImageEncoder(self.width, self.downs, True, self.dtype, norm_first=not self.poses)
    self.decoder = ImageDecoder(self.width, self.downs, self.blocks, self.remat, self.dtype, transposed=True)
    self.critic_image = MultiScaleCritic(self.scales, True, self.critic_width, 0, self.dtype)
    self.perception = perceptual.distance(self.distance, self.dtype)

  @property
  def inputs(self) -> tuple[str, ...]:
    """Keys of the batch: the cluster of the pose where it is told by that."""
    return (*Generative.inputs, "pose_cluster") if self.poses else Generative.inputs

  @nn.nowrap
  def pose(self, image: jax.Array, cluster: jax.Array | None) -> jax.Array:
    """The image (B, H, W, 3), or the code (B, H, W, poses) of its cluster, zeros where that is unknown (-1).

    Raises:
      ValueError: poses are told by clusters, and there are none.
    """
    if not self.poses:
      return image
    if cluster is None:
      raise ValueError("poses are told by their clusters: pose_cluster (B,) is missing")
    code = jax.nn.one_hot(cluster, self.poses, dtype=image.dtype)
    return jnp.broadcast_to(code[:, None, None], (*image.shape[:3], self.poses))

  def generate(self, identity: jax.Array, pose: jax.Array) -> jax.Array:
    """(B, H, W, 3) and (B, H, W, 3 or poses) -> fp32 (B, H, W, 3), all in -1..1."""
    return self.decoder(self.encoder(jnp.concatenate([identity, pose], -1)))[0]

  def compete(self, identity: jax.Array, pose: jax.Array, target: jax.Array, instances: jax.Array) -> dict[str, Any]:
    """The outputs of training, see `Generative.__call__`: terms 'target', 'features' and 'gan_image'."""
    del instances
    image = self.generate(identity, pose)
    given = jnp.concatenate([identity, pose], -1)
    shown = [jnp.concatenate([given, x.astype(given.dtype)], -1) for x in (target, image)]
    real, fake = adversarial.halves(self.critic_image(jnp.concatenate(shown)))
    judged = lambda seen, is_real: adversarial.verdict(seen, is_real, self.gan)
    return {"image": image,
            "generator": {"target": self.perception(image, target), "gan_image": judged(fake, True),
                          "features": adversarial.feature_matching(fake, real)},
            "critic": {"gan_image": (judged(real, True) + judged(fake, False)) / 2}}


class DrNet(Generative):
  """Frames of one clip give each other's content; a critic tells clips by codes of poses, which learn to hide them.

  There is no target in another's pose: a frame is made of another frame's content and
  its own pose. Of a triplet, identity and target are such frames, and the pose image
  is of another clip.

  Attributes:
    width: channels of the encoders' first layer.
    downs: halvings of the image.
    blocks: residual blocks of the decoder.
    critic_width: channels of the critic of codes.
    remat: see ImageDecoder.
    dtype: compute dtype; None is fp32.
  """

  width: int = 64
  downs: int = 3
  blocks: int = 9
  critic_width: int = 256
  remat: bool = False
  dtype: jnp.dtype | None = None

  def setup(self):
    self.identity_encoder = ImageEncoder(self.width, self.downs, False, self.dtype)
    self.pose_encoder = ImageEncoder(self.width, self.downs, True, self.dtype)
    self.decoder = ImageDecoder(self.width, self.downs, self.blocks, self.remat, self.dtype)
    self.critic_codes = ScalarCritic((self.critic_width,) * 2, 100, 0, self.dtype)

  def generate(self, identity: jax.Array, pose: jax.Array) -> jax.Array:
    """(B, H, W, 3) twice -> fp32 (B, H, W, 3), all in -1..1."""
    return self.decoder(jnp.concatenate([self.identity_encoder(identity), self.pose_encoder(pose)], -1))[0]

  def compete(self, identity: jax.Array, pose: jax.Array, target: jax.Array, instances: jax.Array) -> dict[str, Any]:
    """The outputs of training, see `Generative.__call__`.

    Terms of the generator: 'again', squared differences of a frame from itself made of another's content;
    'content', those of both contents; 'confusion', how far the critic is from undecided. Of the critic: 'same'.
    """
    del instances
    size = len(identity)
    content = self.identity_encoder(jnp.concatenate([identity, target]))
    poses = self.pose_encoder(jnp.concatenate([target, identity, pose]))
    again = self.decoder(jnp.concatenate([content[:size], poses[:size]], -1))[0]
    square = lambda x, y: adversarial.per_example((x.astype(jnp.float32) - y.astype(jnp.float32)) ** 2)
    pair = lambda first, second: jnp.concatenate([first, second], -1)
    of_identity = poses[size:2 * size]
    seen = [self.critic_codes(jnp.concatenate([pair(of_identity, poses[:size]), pair(of_identity, poses[2 * size:])]))]
    same, other = adversarial.halves(seen)
    undecided = lambda seen: (adversarial.verdict(seen, True) + adversarial.verdict(seen, False)) / 2
    return {"image": self.decoder(jnp.concatenate([content[:size], poses[2 * size:]], -1))[0],
            "generator": {"again": square(again, target), "content": square(content[:size], content[size:]),
                          "confusion": (undecided(same) + undecided(other)) / 2},
            "critic": {"same": (adversarial.verdict(same, True) + adversarial.verdict(other, False)) / 2}}


class FusionImage(Generative):
  """Cycles in place of a target: what was made must give its pose back, and every image itself.

  With G(x, y) for the identity of x in the pose of y, terms of the generator are
  'cycle' |G(y, G(x, y)) - y|, 'again' |G(x, x) - x| and 'gan_pair', by a critic of whether two
  images share the identity.

  Attributes:
    width: channels of the encoders' first layer.
    downs: halvings of the image.
    blocks: residual blocks of the decoder.
    critic_width: channels of the critic's first layer.
    scales: of the critic.
    gan: 'lsgan' or 'logistic'.
    remat: see ImageDecoder.
    dtype: compute dtype; None is fp32.
  """

  width: int = 64
  downs: int = 3
  blocks: int = 9
  critic_width: int = 64
  scales: int = 2
  gan: str = "lsgan"
  remat: bool = False
  dtype: jnp.dtype | None = None

  def __post_init__(self):
    choices.check("gan", self.gan, adversarial.FORMS)
    super().__post_init__()

  def setup(self):
    self.identity_encoder = ImageEncoder(self.width, self.downs, False, self.dtype)
    self.pose_encoder = ImageEncoder(self.width, self.downs, True, self.dtype)
    self.decoder = ImageDecoder(self.width, self.downs, self.blocks, self.remat, self.dtype)
    self.critic_pair = MultiScaleCritic(self.scales, False, self.critic_width, 0, self.dtype)

  def generate(self, identity: jax.Array, pose: jax.Array) -> jax.Array:
    """(B, H, W, 3) twice -> fp32 (B, H, W, 3), all in -1..1."""
    return self.decoder(jnp.concatenate([self.identity_encoder(identity), self.pose_encoder(pose)], -1))[0]

  def compete(self, identity: jax.Array, pose: jax.Array, target: jax.Array, instances: jax.Array) -> dict[str, Any]:
    """The outputs of training, see `Generative.__call__`; the target is only another image of the same identity."""
    del instances
    size = len(identity)
    who = self.identity_encoder(jnp.concatenate([identity, pose]))
    how = self.pose_encoder(jnp.concatenate([pose, identity]))
    code = lambda first, second: jnp.concatenate([first, second], -1)
    images, _ = self.decoder(jnp.concatenate([code(who[:size], how[:size]), code(who[:size], how[size:])]))
    image, again = images[:size], images[size:]
    cycle = self.decoder(code(who[size:], self.pose_encoder(image.astype(pose.dtype))))[0]
    shown = [jnp.concatenate([identity, x.astype(identity.dtype)], -1) for x in (target, image)]
    real, fake = adversarial.halves(self.critic_pair(jnp.concatenate(shown)))
    judged = lambda seen, is_real: adversarial.verdict(seen, is_real, self.gan)
    return {"image": image,
            "generator": {"cycle": perceptual.colours(cycle, pose), "again": perceptual.colours(again, identity),
                          "gan_pair": judged(fake, True)},
            "critic": {"gan_pair": (judged(real, True) + judged(fake, False)) / 2}}
