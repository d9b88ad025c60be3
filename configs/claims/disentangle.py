"""What the parts of disentangling are for, on Toybox's turntable: hue from one box, azimuth from another.

40 identities in 24 azimuths, 32 x 32 pixels, of which every identity lacks six azimuths that
only the test has; triplets are true ones, so that finding them is not what is tested. Games
against critics are left out: what is compared are the encoders, the reconstructions and the
verified pixels. The azimuth of an image is that of the nearest of the 24 pictures of the
identity that was asked for. Probes are of 12 new identities.

Measured: colours go from 23.1 to 2.0 % off the palette (three seeds). Seed 0: nearest neighbours by gradients
stand alike in 100 %. Of what is made all stand within 15 degrees of what was asked for, 99.6 % exactly; colours are off
by 4.5 %, 4.6 by one encoder, 6.6 with one-hot clusters, and 3.0 without norm and reconstruction. They are learned
slowly: off by 10.3 % after 2,000 of these 16,000 steps, 17.5 by one encoder; on seed 100 by 12.9 after 1,200, 8.7 after
3,600, 6.2 after 8,000. The decoder's instance normalisation takes strengths out of its features, and a hue has to come
by signs of many.

`leak` does not hold: thirds of the hues are told from codes of poses in 89.9 %, 86.5 without norm and reconstruction
(after 2,000 steps 95.1 and 88.5). The signs that are left tell hues as well, also where codes are averaged over the
image (87.2 %, 93.4 without; seed 100, 3,600 and 1,200 steps): nothing in the losses takes them out of a code whose
decoder has learned to look at the other one.

vidx claims disentangle
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from vidx.bench.claims import Claim, fit, linear_probe
from vidx.data.toybox import scene_of, turntable
from vidx.data.triplets import gradients, nearest
from vidx.nn.pixel_verification import verification_loss
from vidx.systems.disentangle import Disentangle
from vidx.systems.image_baselines import Pix2PixHD

SIDE, TRAIN, NEW, BATCH, STEPS, RATE = 32, 40, 12, 8, 16000, 2e-3
AZIMUTHS, APART = turntable.AZIMUTHS, 4  # every fourth azimuth is kept for the test, another one for the next identity
SMALL = dict(width=16, downs=2, blocks=2, critic_width=4, distance="l1")
ARMS = {"full": Disentangle(**SMALL, scales=1, pvm_stride=4),
        "no norm, no reconstruction": Disentangle(**SMALL, scales=1, pose_norm=False, reconstruct=False, verify=False),
        "one encoder": Pix2PixHD(**SMALL, scales=1),
        "one-hot cluster": Pix2PixHD(**SMALL, scales=1, poses=AZIMUTHS // 2)}  # of two azimuths each
TERMS = ("target", "again", "pixels")


@functools.cache
def pictures(split, side=SIDE):
  """uint8 (identities, 24, side, side, 3), and their hues, stripes and lengths."""
  told = [scene_of("turntable", split, i, 1, 0)[1] for i in range(TRAIN if split == "train" else NEW)]
  drawn = [[turntable.picture(*who[:3], 360 / AZIMUTHS * a, (side, side)) for a in range(AZIMUTHS)] for who in told]
  return np.asarray(drawn), np.asarray([who[:3] for who in told])


@functools.cache
def azimuths(kept):
  """(identities, n): those of every identity to learn from, or those that are kept for the test."""
  table = (np.arange(AZIMUTHS) + np.arange(TRAIN)[:, None]) % APART == 0
  return np.stack([np.flatnonzero(row == kept) for row in table])


def scaled(x):
  return jnp.asarray(x, jnp.float32) / 127.5 - 1


def batches(key):
  """(identity, pose, target) of two boxes that lack the same azimuths, and nothing besides."""
  keys, images, known = jax.random.split(key, 4), jnp.asarray(pictures("train")[0]), jnp.asarray(azimuths(False))
  who = jax.random.randint(keys[0], (BATCH,), 0, TRAIN)
  other = (who + APART * jax.random.randint(keys[1], (BATCH,), 1, TRAIN // APART)) % TRAIN
  seen, asked = known[who, jax.random.randint(keys[2], (2, BATCH), 0, known.shape[1])]
  video = jnp.stack([images[who, seen], images[other, asked], images[who, asked]], 1)
  return (scaled(video), jnp.full((BATCH, 2), -1), asked // 2), jnp.zeros(BATCH)


def loss(out, _):
  return sum(value.mean() for name, value in out["generator"].items() if name in TERMS)


@functools.cache
def trained(seed, arm):
  return fit(ARMS[arm], batches, STEPS, seed, RATE, loss)


@functools.cache
def made(seed, arm):
  """(images in 0..1, who, azimuth): every identity in its six azimuths that were kept, as another one shows them."""
  images, rng = pictures("train")[0], np.random.default_rng(0)
  kept, known = azimuths(True), azimuths(False)
  who = np.repeat(np.arange(TRAIN), kept.shape[1])
  asked, seen = kept.reshape(-1), known[who, rng.integers(known.shape[1], size=len(who))]
  other = (who + rng.integers(1, TRAIN, size=len(who))) % TRAIN
  video = scaled(np.stack([images[who, seen], images[other, asked]], 1))
  out = jax.jit(lambda v, x, c: ARMS[arm].apply(v, x, pose_cluster=c)["image"])(trained(seed, arm), video, asked // 2)
  return np.asarray(out) / 2 + 0.5, who, asked


def colour(seed, arm):
  """Percent of the range by which the mean colour of what was made is off, where the true picture is coloured."""
  image, who, asked = made(seed, arm)
  truth = pictures("train")[0][who, asked] / 255
  each = [np.abs(x[c].mean(0) - y[c].mean(0)).mean() for x, y, c in zip(image, truth, np.ptp(truth, axis=-1) > 0.3)]
  return 100 * float(np.mean(each))


def azimuth(seed, arm, reach):
  """Percent of the images that stand as the other box does, or at most `reach` azimuths from it."""
  image, who, asked = made(seed, arm)
  of_who = pictures("train")[0][who] / 255
  at = ((image[:, None] - of_who) ** 2).mean((2, 3, 4)).argmin(1)
  return 100 * float((away(at, asked) <= reach).mean())


def away(a, b):
  """Azimuths between two, either way round."""
  half = AZIMUTHS // 2
  return np.abs((a - b + half) % AZIMUTHS - half)


def leak(seed, arm):
  """Percent of new identities' images whose third of the hues a linear probe tells from the code of poses."""
  model, variables = ARMS[arm], trained(seed, arm)
  encode = jax.jit(lambda x: model.bind(variables).pose_encoder(x))
  codes, thirds = [], []
  for split in ("train", "val"):
    images, who = pictures(split)
    code = np.asarray(encode(scaled(images.reshape(-1, SIDE, SIDE, 3)))).astype("f")
    codes.append(code.reshape(len(code), 4, 2, 4, 2, -1).mean((2, 4)).reshape(len(code), -1))
    thirds.append(np.repeat((who[:, 0] * 3).astype(int) % 3, AZIMUTHS))
  return 100 * float((linear_probe(codes[0], thirds[0], 3, 10.0)(codes[1]) == thirds[1]).mean())


def neighbours():
  """Percent of pictures of 64 x 64 whose nearest one of another identity, by gradients, stands within 15 degrees."""
  images = pictures("train", 64)[0].reshape(-1, 64, 64, 3)
  who, at = np.divmod(np.arange(len(images)), AZIMUTHS)
  return 100 * float((away(at[nearest(gradients(images), who)], at) <= 1).mean())


def palette(seed, steps=60):
  """Distance of colours from the palette of the identity, in percent, after steps down L_pv and before.

  The gradient of an absolute difference is as long next to its minimum as far from it, so steps become shorter,
  down to none: those of one length end where they cross it back and forth.
  """
  rng = np.random.default_rng(seed)
  image = jnp.asarray(rng.choice([-0.8, 0.8], (1, 16, 16, 1)) * np.asarray([1.0, -0.6, 0.2]), jnp.float32)
  features = jnp.asarray(rng.normal(size=(1, 16, 16, 8)), jnp.float32)
  strange = jnp.asarray(rng.uniform(-1, 1, (1, 16, 16, 3)), jnp.float32)
  down = jax.jit(jax.grad(lambda x: verification_loss(features, features, image, x).sum()))
  colours = np.unique(np.asarray(image).reshape(-1, 3), axis=0)
  far = lambda x: 50 * float(np.abs(np.asarray(x).reshape(-1, 1, 3) - colours).mean(-1).min(1).mean())
  x = strange
  for i in range(steps):
    x = x - 80 * (1 - i / steps) * down(x)
  return far(x), far(strange)


def get_claims() -> list[Claim]:
  controls = lambda figure, seed: {arm: figure(seed, arm) for arm in ARMS if arm != "full"}
  near = lambda seed, arm: azimuth(seed, arm, 1)
  return [
      Claim("palette", "Colours that an identity has not are drawn to its palette by the verification of pixels.",
            lambda seed: dict(zip(("method", "baseline"), palette(seed))), margin=20.0, better="less", seeds=3),
      Claim("neighbours", "The nearest picture by gradients stands alike, within 15 degrees: 70 of 100.",
            lambda seed: {"method": neighbours(), "baseline": 70.0}, seeds=1),
      Claim("azimuth", "Four of five images stand as the other box does, within 15 degrees: 80 of 100.",
            lambda seed: {"method": near(seed, "full"), "baseline": 80.0, "exactly": azimuth(seed, "full", 0),
                          **controls(near, seed)}, seeds=1),
      Claim("colour", "The colour of an identity in a pose that it was never seen in is off by less than 5 %.",
            lambda seed: {"method": colour(seed, "full"), "baseline": 5.0, **controls(colour, seed)}, better="less",
            seeds=1),
      Claim("identity", "That colour is nearer than by one encoder of both images.",
            lambda seed: {"method": colour(seed, "full"), "baseline": colour(seed, "one encoder")}, better="less",
            seeds=1),
      Claim("leak", "Codes of poses tell hues less by 20 points than without normalisation and reconstruction.",
            lambda seed: {"method": leak(seed, "full"), "baseline": leak(seed, "no norm, no reconstruction")},
            margin=20.0, better="less", seeds=1),
  ]
