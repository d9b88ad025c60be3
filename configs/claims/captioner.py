"""What a captioner is for: sentences that tell of each video, against one sentence that is said of all.

Features of things and of how they move, as Toybox `sentences` has them, of 2,000 videos to learn from and 200 to
tell of, each with three captions. The captioner learns by likelihood, without parts of speech, from one caption of
each video a time, and says what a beam of three finds. The baseline says the caption that is the most frequent in
training of every video. BLEU-4 is of all 200 in percent, CIDEr-D a mean from 0 to 10.

vidx claims captioner
"""

from collections import Counter
import functools

import jax
import jax.numpy as jnp
import numpy as np

from vidx import tasks
from vidx.bench.claims import Claim, fit
from vidx.data.toybox import labels
from vidx.data.toybox import sentences as world
from vidx.metrics import sentences
from vidx.nn import consensus
from vidx.systems.captioner import Captioner

TRAIN, TEST, BATCH, STEPS, RATE = 2000, 200, 32, 600, 3e-3
LENGTH, TOKENS = 24, 2 * world.TOKENS
STREAMS = ("objects", "motion")
WORDS = world.vocabulary()
NUMBER = {word: i for i, word in enumerate(WORDS)}
START, END = NUMBER["[CLS]"], NUMBER["[SEP]"]
MODEL = Captioner(STREAMS, len(WORDS), LENGTH, hidden=64, embedding=32, attention=64, dropout=0.1, start=START,
                  end=END, guided=False)


@functools.cache
def videos():
  """Captions of all videos, and arrays: text (N, 3, L), its mask, each stream (N, K, D), and which steps are live."""
  rng = np.random.default_rng(0)
  told = [labels.get("sentences").scene(i % 4, "train", 8, rng)[1] for i in range(TRAIN + TEST)]
  captions = [world.captions(t) for t in told]
  text = np.zeros((len(told), 3, LENGTH), np.int32)
  streams = [np.zeros((len(told), TOKENS, world.EXPERTS[s]), np.float32) for s in STREAMS]
  live = [np.zeros((len(told), TOKENS), np.float32) for _ in STREAMS]
  for i, (said, seen) in enumerate(zip(captions, (world.experts(t, rng) for t in told))):
    for j, caption in enumerate(said):
      row = [START, *(NUMBER[w] for w in sentences.words(caption)), END]
      text[i, j, :len(row)] = row
    for name, x, on in zip(STREAMS, streams, live):
      x[i, :len(seen[name])], on[i, :len(seen[name])] = seen[name], 1
  return captions, text, (text != 0).astype(np.float32), *streams, *live


def batches(key):
  """32 videos with a caption each, and the batch that the task asks for."""
  text, mask, *arrays = (jnp.asarray(x) for x in videos()[1:])
  which, row = jax.random.split(key)
  rows = jax.random.randint(row, (BATCH,), 0, TRAIN)
  one = jax.random.randint(which, (BATCH,), 0, 3)
  batch = {"text": text[rows, one], "text_mask": mask[rows, one], "weight": jnp.ones(BATCH),
           "text_count": jnp.full(BATCH, 3)}
  return (batch["text"], *(x[rows] for x in arrays), jnp.full(BATCH, 0.5)), batch


TASK = tasks.get("captioning")


def loss(out, batch):
  return TASK.loss(out, batch)[0].mean()


def agreement(said: list[list[str]]) -> dict[str, float]:
  """{'BLEU-4', 'CIDEr-D'} of a sentence about each of the test videos."""
  captions, text, mask = videos()[:3]
  references = [[sentences.words(c) for c in of_one] for of_one in captions[TRAIN:]]
  numbers = np.zeros((TEST, LENGTH), np.int32)
  for row, own in zip(numbers, said):
    row[:len(own)] = [NUMBER[w] for w in own]
  known = consensus.rarity([[np.array([NUMBER[w] for w in sentences.words(c)]) for c in of_one]
                            for of_one in captions[:TRAIN]])
  found = jax.jit(lambda *x: consensus.consensus(*x, known))(
      numbers, np.array([len(own) for own in said]), text[TRAIN:, :, 1:], (mask[TRAIN:].sum(-1) - 2).astype(int))
  return {"BLEU-4": sentences.bleu(said, references), "CIDEr-D": float(found.mean())}


@functools.cache
def most_common():
  """What one sentence comes to: the caption that is the most frequent in training."""
  counts = Counter(caption for of_one in videos()[0][:TRAIN] for caption in of_one)
  return agreement([sentences.words(counts.most_common(1)[0][0])] * TEST)


@functools.cache
def captioner(seed):
  """What a captioner comes to."""
  variables = fit(MODEL, batches, STEPS, seed, RATE, loss)
  _, text, _, *arrays = (x[TRAIN:] for x in videos())
  out = jax.jit(lambda v, *x: MODEL.apply(v, *x))(variables, text, *arrays, np.ones(TEST, np.float32))
  words, counts = np.asarray(out["words"]), np.asarray(out["count"])
  return agreement([[WORDS[w] for w in row[:n]] for row, n in zip(words, counts)])


def get_claims() -> list[Claim]:
  of = lambda figure: lambda seed: {"method": captioner(seed)[figure], "baseline": most_common()[figure]}
  return [
      Claim("bleu", "Sentences reach 30 points of BLEU-4 more than the caption that is the most frequent.",
            of("BLEU-4"), 30.0, seeds=2),
      Claim("consensus", "They agree with what is said of each video, by 1.5 more of CIDEr-D.", of("CIDEr-D"), 1.5,
            seeds=2, unit=""),
  ]
