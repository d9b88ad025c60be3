"""What sound beside sight is for, and what dropping its pathway and telling sound in step do for learning from both.

vidx claims avslowfast

Clips are squares of 12 pixels on noise, spectrograms 16 rows of 8 bands. `joint`: a direction
is seen and a band is heard, the class is both. `overfitting`: 200 clips, each with a hum of
its own, and a direction that is hard to see; hums of new clips say nothing. `sync`: a
square flashes and a tone sounds at a beat; other sound is another clip's, or the same
beat at another time. `misaligned`: the tone sounds half of the clip after the motion.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np

import vidx
from vidx.bench.claims import Claim, accuracy, fit

BATCH, FRAMES, SIZE, ROWS, MELS = 32, 8, 12, 16, 8
WAYS = jnp.asarray([[0, 1], [1, 0], [0, -1], [-1, 0]])
TONES = 4
NET = dict(stages=(1, 1), width=16, strides=(1, 2), slow_temporal=(1, 3), fast_temporal=(3, 3), alpha=4,
           fs_stages=(0, 1), afs_stages=(0, 1), avs=(), inner=8, dropout=0.0, zero_init=False, crop=0)


def net(**fields):
  return vidx.create_model("avslowfast_r50_4x16", **{**NET, **fields})


def moving(key, way, noise, speed=1.5):
  """Clips (B, T, H, W, 3) of a square that moves one of four ways, round and round."""
  start, ground = jax.random.split(key)
  gone = speed * jnp.arange(FRAMES)[:, None] * WAYS[way][:, None]
  at = jax.random.uniform(start, (len(way), 1, 2), maxval=SIZE) + gone
  far = jnp.abs((jnp.arange(SIZE)[:, None] - at[..., None, :] + SIZE / 2) % SIZE - SIZE / 2)  # (B, T, S, 2)
  inside = (far[..., :, None, 0] < 2) & (far[..., None, :, 1] < 2)
  return inside[..., None] + noise * jax.random.normal(ground, (len(way), FRAMES, SIZE, SIZE, 3))


def tone(key, band, live, noise):
  """Spectrograms (B, T, F, 1): two bands are loud where `live` (B, T)."""
  loud = (jnp.arange(MELS) // 2 == band[:, None])[:, None] * live[..., None]
  return (2.0 * loud + noise * jax.random.normal(key, loud.shape))[..., None]


def joint(key, streams="both", late=False):
  """Clips, their sound, and direction x band; the tone lasts throughout, or the half of the clip after the motion."""
  keys = jax.random.split(key, 4)
  way, band = (jax.random.randint(k, (BATCH,), 0, 4) for k in keys[:2])
  live = jnp.broadcast_to(jnp.arange(ROWS) >= ROWS // 2 if late else jnp.ones(ROWS, bool), (BATCH, ROWS))
  video = moving(keys[2], way, 0.3)
  if late:
    video = jnp.where((jnp.arange(FRAMES) < FRAMES // 2)[:, None, None, None], video, video[:, FRAMES // 2, None])
  audio = tone(keys[3], band, live, 0.7)
  x = {"both": (video, audio, jnp.ones(BATCH)), "sight": (video,), "sound": (audio, jnp.ones(BATCH))}[streams]
  return x, way * TONES + band


BATCHES = {s: functools.partial(joint, streams=s) for s in ("both", "sight", "sound")}
LATE = functools.partial(joint, late=True)


@functools.lru_cache
def told(seed, streams):
  """Percent of the sixteen classes."""
  model, data = net(num_classes=16, streams=streams, drop=0.2), BATCHES[streams]
  return accuracy(model, fit(model, data, 500, seed), data, 16, seed)


@functools.lru_cache
def told_late(seed, fusion):
  model = net(num_classes=16, fusion=fusion, drop=0.2)
  return accuracy(model, fit(model, LATE, 200, seed), LATE, 16, seed)


CLIPS = 200


def with_hums(keys):
  """Clips of a direction under much noise, each with a hum of its own."""

  def one(key):
    way, hum, video = jax.random.split(key, 3)
    label = jax.random.randint(way, (), 0, 4)
    return moving(video, label[None], 1.2)[0], 2.0 * jnp.broadcast_to(
        jax.random.normal(hum, (1, MELS, 1)), (ROWS, MELS, 1)), label

  video, audio, label = jax.vmap(one)(keys)
  return (video, audio, jnp.ones(len(keys))), label


def known(key, streams="both"):
  """Some of 200 clips, which are always the same."""
  chosen = jax.random.randint(key, (BATCH,), 0, CLIPS)
  x, label = with_hums(jax.vmap(lambda i: jax.random.fold_in(jax.random.PRNGKey(77), i))(chosen))
  return (x if streams == "both" else x[:1]), label


def unknown(key, streams="both"):
  x, label = with_hums(jax.random.split(key, BATCH))
  return (x if streams == "both" else x[:1]), label


KNOWN = {s: functools.partial(known, streams=s) for s in ("both", "sight")}
UNKNOWN = {s: functools.partial(unknown, streams=s) for s in ("both", "sight")}


@functools.lru_cache
def generalised(seed, drop):
  """Percent right of new clips and of the known ones; drop < 0: without sound."""
  streams = "sight" if drop < 0 else "both"
  model = net(num_classes=4, streams=streams, drop=max(drop, 0.0), drop_scope="all")
  variables = fit(model, KNOWN[streams], 400, seed)
  return tuple(accuracy(model, variables, data[streams], 32, seed) for data in (UNKNOWN, KNOWN))


def beats(key, hard=False):
  """((video, audio, valid, other audio, progress, weight), nothing): flashes and tones at a beat of each clip's own."""
  keys = jax.random.split(key, 6)
  period = jax.random.randint(keys[0], (BATCH,), 3, 6)
  phase = jax.random.randint(keys[1], (BATCH,), 0, 12)
  late = 1 + jax.random.randint(keys[2], (BATCH,), 0, 12) % (period - 1)  # another time of the same beat
  on = lambda shift: (jnp.arange(FRAMES) + (phase + shift)[:, None]) % period[:, None] == 0
  flash = on(0)[..., None, None, None] * jnp.ones((SIZE, SIZE, 3))
  video = flash + 0.3 * jax.random.normal(keys[3], flash.shape)
  sounding = lambda shift, key: tone(key, jnp.zeros(BATCH, int), jnp.repeat(on(shift), ROWS // FRAMES, 1), 0.3)
  audio, displaced = sounding(0, keys[4]), sounding(late, keys[5])
  other = displaced if hard else jnp.roll(audio, 1, 0)
  ones = jnp.ones(BATCH)
  return (video, audio, ones, other, ones, ones), jnp.zeros(BATCH, int)


TRAINED = functools.partial(beats, hard=True)
EASY = functools.partial(beats, hard=False)


def avs_loss(out, label):
  del label
  return out["losses"]["avs"].mean()


def in_step(out, label):
  del label
  own, other = (sum(out[key].values()) / len(out[key]) for key in ("distance", "distance_neg"))
  return jnp.concatenate([own < 0.5, other > 0.5])


def syncing(share):
  """Sight and sound apart, compared behind both stages, with such a share of hard negatives."""
  return net(num_classes=0, fs_stages=(0, 0), afs_stages=(0, 0), avs=("res2", "res3"), score_sync=True,
             hard_share=share, hard_from=0.0)


@functools.lru_cache
def synchronised(seed, how):
  """Percent of own and other sounds on the right side of 1/2, of other clips and of the same at another time."""
  model, steps = syncing({"easy": 0.0, "curriculum": 0.0, "hard": 1.0}[how]), 300
  variables = fit(model, TRAINED, steps, seed, loss=avs_loss)
  if how == "curriculum":
    model = syncing(0.25)
    variables = fit(model, TRAINED, steps, seed, loss=avs_loss, begin=variables)
  elif how == "hard":
    variables = fit(model, TRAINED, steps, seed, loss=avs_loss, begin=variables)
  return tuple(accuracy(model, variables, data, 8, seed, in_step) for data in (EASY, TRAINED))


def get_claims() -> list[Claim]:
  limit = lambda run, value: lambda seed: {"method": run(seed), "baseline": value}
  claim = functools.partial(Claim, seeds=2)
  return [
      claim("joint", "What is both seen and heard is told by both.",
            lambda seed: {"method": told(seed, "both"), "baseline": 90.0, "sight": told(seed, "sight"),
                          "sound": told(seed, "sound")}),
      claim("sight_alone", "Sight alone tells a quarter of it.", limit(lambda s: told(s, "sight"), 30.0),
            better="less"),
      claim("sound_alone", "And sound alone a quarter.", limit(lambda s: told(s, "sound"), 30.0), better="less"),
      claim("overfitting", "Where every clip has a sound of its own, training with it learns the sounds by heart.",
            lambda seed: {"method": generalised(seed, 0.0)[0], "baseline": generalised(seed, -1.0)[0],
                          "known clips": generalised(seed, 0.0)[1]}, better="less"),
      claim("droppathway", "Dropped in most steps, sound takes nothing from what is seen.",
            lambda seed: {"method": generalised(seed, 0.8)[0], "baseline": generalised(seed, 0.0)[0],
                          "without sound": generalised(seed, -1.0)[0]}, 5.0),
      claim("sync", "Sound in step is told from that of other clips.",
            lambda seed: {"method": synchronised(seed, "easy")[0], "baseline": 95.0}),
      claim("curriculum", "Beginning with other clips is a better way to tell other times than these alone.",
            lambda seed: {"method": float(np.mean(synchronised(seed, "curriculum"))),
                          "baseline": float(np.mean(synchronised(seed, "hard")))}),
      claim("misaligned", "Sound that comes after what is seen is of more use to the slow pathway than to the fast.",
            lambda seed: {"method": told_late(seed, "a_fs"), "baseline": told_late(seed, "a_f_s")}),
  ]
