"""Sentences: what is said of a video with one or two things, and what experts see in it.

A caption names colour, shape and motion of the things, and some also the background. The
experts are prototypes of what there is under noise, in their own widths, some tokens per
video: of the things, of how they move, and of the background, which one in eight videos lacks.
"""

from collections.abc import Mapping

import numpy as np

from vidx.data import tokens, trees
from vidx.data.toybox import world

COLOURS = tuple(world.COLOURS)[:4]
SHAPES = ("circle", "square", "triangle", "star")
WAYS = {"left": "moves left", "right": "moves right", "up": "rises", "down": "sinks", "grow": "grows",
        "shrink": "shrinks"}
EXPERTS = {"objects": 16, "motion": 12, "scene": 8}  # features of a token
TOKENS, NOISE = 4, 0.2

Told = tuple[str, tuple[tuple[str, str, str], ...]]  # background, and (colour, shape, motion) of each thing


def captions(told: Told) -> list[str]:
  """Three sentences that tell of a video."""
  background, things = told
  return [
      " and ".join(f"a {colour} {shape} {WAYS[way]}" for colour, shape, way in things),
      " , ".join(f"the {shape} that {WAYS[way]} is {colour}" for colour, shape, way in reversed(things)),
      " while ".join(f"a {shape} {WAYS[way]}" for _, shape, way in things) + f" in front of {background}",
  ]


def stills(told: Told) -> list[tuple[str, str]]:
  """Three sentences that tell of one frame, where nothing moves, and the brackets of their trees."""
  background, things = told
  join = lambda parts, tag, word: parts[0] if len(parts) == 1 else f"(NP {parts[0]} ({tag} {word}) {parts[1]})"
  full = join([f"(NP (DT a) (JJ {colour}) (NN {shape}))" for colour, shape, _ in things], "CC", "and")
  shapes = [f"(NP (DT a) (NN {shape}))" for _, shape, _ in things]
  beside = shapes[0] if len(shapes) == 1 else f"(NP {shapes[0]} (PP (IN beside) {shapes[1]}))"
  over = f"(NP {join(shapes, 'CC', 'and')} (PP (IN over) (NP (NN {background}))))"
  brackets = [f"(ROOT {tree})" for tree in (full, beside, over)]
  return [(" ".join(w.word for w in trees.parse(b).words()), b) for b in brackets]


def vocabulary() -> list[str]:
  """All tokens of all sentences, the special ones first."""
  words = {w for way in WAYS.values() for w in way.split()}
  words |= {*COLOURS, *SHAPES, *world.BACKGROUNDS, *"a and the that is , while in front of".split()}
  return [*tokens.SPECIAL, *sorted(words)]


def experts(told: Told, rng: np.random.Generator) -> dict[str, np.ndarray]:
  """Float32 (tokens, features) of each expert that sees something, a token per thing and moment."""
  background, things = told
  kinds = _prototypes()
  seen: Mapping[str, list[np.ndarray]] = {
      "objects": [kinds["objects", colour] + kinds["objects", shape] for colour, shape, _ in things],
      "motion": [kinds["motion", way] for _, _, way in things],
      "scene": [kinds["scene", background]] if rng.uniform() > 1 / 8 else []}
  found = {}
  for name, rows in seen.items():
    if rows:
      clean = np.concatenate([np.stack(rows)] * TOKENS)
      found[name] = (clean + NOISE * rng.normal(size=clean.shape)).astype(np.float32)
  return found


def _prototypes() -> dict[tuple[str, str], np.ndarray]:
  rng = np.random.default_rng(7)
  names = {"objects": (*COLOURS, *SHAPES), "motion": tuple(WAYS), "scene": world.BACKGROUNDS}
  return {(kind, name): rng.normal(size=EXPERTS[kind]) for kind, of in names.items() for name in of}
