"""Label sets: what a video of a class looks like, and what is left to chance."""

from collections.abc import Callable
import dataclasses

import numpy as np

from vidx import errors
from vidx.data.toybox import acts, hands, kitchen, sentences, tracks, turntable, world

MOTION = ("left", "right", "up", "down", "grow", "shrink", "clockwise", "anticlockwise")
_some = world.some
_SMALL, _LARGE = 0.12, 0.34  # half extents between which things grow and shrink
_COLOURS = tuple(world.COLOURS)[:4]
_FORMS = ("circle", "square", "triangle", "star")
APPEARANCE = tuple(f"{c} {s}" for s in _FORMS for c in _COLOURS)
BIASED = ("left", "right", "up", "down")

# Tags by the six kinds of the HVU data set.
TAGS = {
    "action": ("moving left", "moving right", "moving up", "moving down", "growing", "shrinking", "turning"),
    "attribute": _COLOURS,
    "concept": ("many", "single"),
    "event": ("chase", "solo"),
    "object": _FORMS,
    "scene": world.BACKGROUNDS,
}


def _path(motion: str, frames: int, rng: np.random.Generator) -> dict[str, np.ndarray]:
  """x, y, size, angle over time of a motion.

  Phases are uniform on a circle (positions wrap around, sizes start again), so
  that a single frame of a motion looks like one of its opposite; opposites are
  each other backwards in time.
  """
  middle = np.arange(frames) - (frames - 1) / 2
  still = np.zeros(frames)
  way = rng.uniform(0.55, 0.95) / max(1, frames - 1) * middle  # of a whole turn through the picture
  turn = rng.uniform(0.45, 0.75) * 2 * np.pi / max(1, frames - 1) * middle
  size = rng.uniform(0.2, 0.3)
  x, y, angle, phase = rng.uniform(size=4)
  path = {"x": x + still, "y": y + still, "size": size + still, "angle": 2 * np.pi * angle + still}
  if motion in ("left", "right"):
    path["x"] = x + (way if motion == "right" else -way)
  elif motion in ("up", "down"):
    path["y"] = y + (way if motion == "down" else -way)
  elif motion in ("grow", "shrink"):
    share = (phase + 0.7 * (way if motion == "grow" else -way)) % 1.0
    path["size"] = _SMALL * (_LARGE / _SMALL) ** share
  elif motion in ("clockwise", "anticlockwise"):
    path["angle"] = path["angle"] + (turn if motion == "clockwise" else -turn)
  return path


def _object(shape: str, colour: str, motion: str, frames: int, rng: np.random.Generator) -> world.Object:
  shade = np.clip(np.asarray(world.COLOURS[colour]) + rng.normal(0, 8, 3), 0, 255)
  return world.Object(shape, tuple(int(v) for v in shade), **_path(motion, frames, rng))


def _scene(background: str, objects: list[world.Object], frames: int, rng: np.random.Generator,
           pitch: float = 440.0, slope: float = 0.0) -> world.Scene:
  camera = np.cumsum(rng.normal(0, 0.25, (frames, 2)), axis=0)
  ramp = np.linspace(-0.5, 0.5, frames)
  return world.Scene(background, int(rng.integers(1 << 31)), tuple(objects), camera - camera.mean(axis=0),
                     pitch * 2.0 ** (slope * ramp))


_SLOPES = {"up": 1.0, "down": -1.0, "grow": -0.5, "shrink": 0.5, "right": 0.25, "left": -0.25}


def motion_scene(label: int, split: str, frames: int, rng: np.random.Generator) -> tuple[world.Scene, int]:
  """One of eight motions of a directed shape; colour, shape, place and background say nothing."""
  del split
  name = MOTION[label]
  thing = _object(_some(rng, tuple(world.DIRECTED)), _some(rng, tuple(world.COLOURS)), name, frames, rng)
  return _scene(_some(rng, world.BACKGROUNDS), [thing], frames, rng, rng.uniform(300, 600),
                _SLOPES.get(name, 0.0)), label


def appearance_scene(label: int, split: str, frames: int, rng: np.random.Generator) -> tuple[world.Scene, int]:
  """A shape of a colour; how it moves says nothing."""
  del split
  colour, shape = APPEARANCE[label].split()
  thing = _object(shape, colour, _some(rng, MOTION), frames, rng)
  return _scene(_some(rng, world.BACKGROUNDS), [thing], frames, rng, 220.0 * (1 + _FORMS.index(shape))), label


BIAS = 0.95


def biased_scene(label: int, split: str, frames: int, rng: np.random.Generator) -> tuple[world.Scene, int]:
  """A direction; in training the background tells it in 95 of 100 videos, elsewhere it says nothing."""
  told = split == "train" and rng.uniform() < BIAS
  background = world.BACKGROUNDS[label] if told else _some(rng, world.BACKGROUNDS[:len(BIASED)])
  thing = _object(_some(rng, tuple(world.DIRECTED)), _some(rng, tuple(world.COLOURS)), BIASED[label], frames, rng)
  return _scene(background, [thing], frames, rng, 440.0, _SLOPES[BIASED[label]]), label


_ACTIONS = dict(zip(TAGS["action"], ("left", "right", "up", "down", "grow", "shrink", "clockwise")))


def tags_scene(label: int, split: str, frames: int, rng: np.random.Generator) -> tuple[world.Scene, tuple[int, ...]]:
  """One or two things; tags of six kinds say what they are, do and where."""
  del label, split
  background, many = _some(rng, world.BACKGROUNDS), bool(rng.uniform() < 0.5)
  things, tags = [], {background, "many" if many else "single"}
  actions = []
  for _ in range(2 if many else 1):
    shape, colour, action = _some(rng, _FORMS), _some(rng, _COLOURS), _some(rng, TAGS["action"])
    things.append(_object(shape, colour, _ACTIONS[action], frames, rng))
    tags |= {shape, colour, action}
    actions.append(action)
  tags.add("chase" if many and actions[0] == actions[1] else "solo")
  names = classes_of("tags")
  return _scene(background, things, frames, rng, 440.0), tuple(sorted(names.index(t) for t in tags))


def noisy_tags_scene(label: int, split: str, frames: int, rng: np.random.Generator
                     ) -> tuple[world.Scene, tuple[int, ...]]:
  """As `tags_scene`, under so much noise that single frames tell little."""
  scene, tags = tags_scene(label, split, frames, rng)
  return dataclasses.replace(scene, noise=70.0), tags


def conjunction_scene(label: int, split: str, frames: int, rng: np.random.Generator) -> tuple[world.Scene, int]:
  """Where the star goes; a circle goes another way. Neither the shapes alone nor the directions alone tell it."""
  del split
  other = _some(rng, [way for way in BIASED if way != BIASED[label]])
  things = [_object(shape, _some(rng, _COLOURS), way, frames, rng)
            for shape, way in (("circle", other), ("star", BIASED[label]))]
  things = [things[i] for i in rng.permutation(2)]  # either may be in front
  return _scene(_some(rng, world.BACKGROUNDS), things, frames, rng), label


def sentences_scene(label: int, split: str, frames: int, rng: np.random.Generator
                    ) -> tuple[world.Scene, sentences.Told]:
  """One or two things of different shapes, one of them of the class; the label is what captions tell."""
  del split
  background, shapes = _some(rng, world.BACKGROUNDS), [sentences.SHAPES[label]]
  if rng.uniform() < 0.5:
    shapes.append(_some(rng, [s for s in sentences.SHAPES if s != shapes[0]]))
  things = [(_some(rng, sentences.COLOURS), shape, _some(rng, tuple(sentences.WAYS))) for shape in shapes]
  objects = [_object(shape, colour, way, frames, rng) for colour, shape, way in things]
  return _scene(background, objects, frames, rng), (background, tuple(things))


# ---------------------------------------------------------------- where computing less is enough


def _over_time(thing: world.Object, index: np.ndarray, seen: np.ndarray | None = None) -> world.Object:
  """The object with the frames `index`; where not `seen`, it has size 0 and is not there."""
  path = {k: getattr(thing, k)[index] for k in ("x", "y", "size", "angle")}
  if seen is not None:
    path["size"] = np.where(seen, path["size"], 0.0)
  return dataclasses.replace(thing, **path)


def _somewhere(shape: str, colour: str, frames: int, rng: np.random.Generator) -> world.Object:
  """An object that is at another place in every frame."""
  thing = _object(shape, colour, "", frames, rng)
  return dataclasses.replace(thing, x=rng.uniform(size=frames), y=rng.uniform(size=frames))


def needle_scene(label: int, split: str, frames: int, rng: np.random.Generator) -> tuple[world.Scene, int]:
  """A shape in a fifth to a third of the frames, in one run; another shape in as many frames that are no neighbours.

  In the other frames there is nothing. No single frame tells the class from the
  other shape, only that it is one of a run.
  """
  del split
  run = min(frames, max(1, round(frames * rng.uniform(0.2, 0.32))))
  start = int(rng.integers(frames - run + 1))
  seen = (np.arange(frames) >= start) & (np.arange(frames) < start + run)
  near = seen | np.append(seen[1:], False) | np.append(False, seen[:-1])
  decoy = np.zeros(frames, bool)
  for t in rng.permutation(np.flatnonzero(~near)):
    if decoy.sum() < run and not decoy[max(0, t - 1):t + 2].any():
      decoy[t] = True
  colour, other = _some(rng, _COLOURS), _some(rng, [f for f in _FORMS if f != _FORMS[label]])
  everywhere = np.arange(frames)
  things = [_over_time(_somewhere(shape, colour, frames, rng), everywhere, where)
            for shape, where in ((_FORMS[label], seen), (other, decoy))]
  return _scene(_some(rng, world.BACKGROUNDS), things, frames, rng), label


def redundant_scene(label: int, split: str, frames: int, rng: np.random.Generator) -> tuple[world.Scene, int]:
  """A motion at any speed, with pauses: between an eighth and all of the frames differ from the one before."""
  del split
  distinct = int(rng.integers(max(1, frames // 8), frames + 1))
  steps = np.zeros(frames, np.int64)
  steps[1 + rng.permutation(frames - 1)[:distinct - 1]] = 1
  index = np.cumsum(steps)
  scene, _ = motion_scene(label, "", distinct, rng)
  return dataclasses.replace(scene, objects=tuple(_over_time(o, index) for o in scene.objects),
                             camera=scene.camera[index], pitch=scene.pitch[index]), label


def cluttered_scene(label: int, split: str, frames: int, rng: np.random.Generator) -> tuple[world.Scene, int]:
  """A coloured shape: alone over a smooth background, or among grey things over a busy one, half and half."""
  del split
  thing = _object(_FORMS[label], _some(rng, _COLOURS), _some(rng, MOTION), frames, rng)
  if rng.uniform() < 0.5:
    return _scene("gradient", [thing], frames, rng), label
  around = []
  for _ in range(int(rng.integers(4, 8))):
    grey = _object(_some(rng, tuple(world.SHAPES)), "red", _some(rng, MOTION[:4]), frames, rng)
    shade = int(rng.integers(70, 190))
    around.append(dataclasses.replace(grey, colour=(shade,) * 3, size=np.full(frames, rng.uniform(0.08, 0.16))))
  return _scene(_some(rng, ("noise", "checks", "blobs", "grain")), [*around, thing], frames, rng), label


def untrimmed_scene(label: int, split: str, frames: int, rng: np.random.Generator) -> tuple[world.Scene, int]:
  """A motion in a fifth to two fifths of the video; before and after there is only the background."""
  del split
  length = min(frames, max(2, round(frames * rng.uniform(0.2, 0.4))))
  start = int(rng.integers(frames - length + 1))
  thing = _object(_some(rng, tuple(world.DIRECTED)), _some(rng, tuple(world.COLOURS)), MOTION[label], length, rng)
  at = np.arange(frames) - start
  thing = _over_time(thing, np.clip(at, 0, length - 1), (at >= 0) & (at < length))
  return _scene(_some(rng, world.BACKGROUNDS), [thing], frames, rng), label


# ---------------------------------------------------------------- what is heard as well as seen

PITCHES = {"low": 300.0, "middle": 600.0, "high": 1200.0, "shrill": 2400.0}
TONES = tuple(f"{way} {pitch}" for way in BIASED for pitch in PITCHES)
BEATS = ("in step", "out of step")


def tones_scene(label: int, split: str, frames: int, rng: np.random.Generator) -> tuple[world.Scene, int]:
  """A direction that is seen and a pitch that is heard, each of which tells a quarter; its own hum says nothing."""
  del split
  way, pitch = TONES[label].split()
  thing = _object(_some(rng, tuple(world.DIRECTED)), _some(rng, tuple(world.COLOURS)), way, frames, rng)
  scene = _scene(_some(rng, world.BACKGROUNDS), [thing], frames, rng, PITCHES[pitch] * rng.uniform(0.9, 1.1))
  return dataclasses.replace(scene, hum=float(rng.uniform(3000, 7000))), label


def beats_scene(label: int, split: str, frames: int, rng: np.random.Generator) -> tuple[world.Scene, int]:
  """Something flashes at a beat of its own, and a beep sounds with every flash, or as often at other times."""
  del split
  count = max(1, frames // 6)
  flash = np.zeros(frames, bool)
  for t in rng.permutation(frames - 1):
    if flash.sum() < 2 * count and not flash[max(0, t - 2):t + 4].any():
      flash[t:t + 2] = True
  sounding = flash if label == 0 else np.roll(flash, int(rng.integers(3, max(4, frames - 3))))
  thing = _over_time(_object(_some(rng, _FORMS), _some(rng, _COLOURS), "", frames, rng), np.arange(frames), flash)
  scene = _scene(_some(rng, world.BACKGROUNDS), [thing], frames, rng, rng.uniform(400, 1200))
  return dataclasses.replace(scene, loudness=sounding.astype(np.float64)), label


Label = int | tuple[int, ...] | kitchen.Runs | sentences.Told | acts.People | turntable.Told


@dataclasses.dataclass(frozen=True)
class LabelSet:
  """Attributes:
    classes: names by id.
    scene: (class id, split, frames, rng) -> (scene, label of the record).
    layouts: in which its labels can be written; the first where none is asked for.
    drawn: whether a label is known only with its scene: several class ids, or runs of them.
    frames: of a video, where not asked for.
  """

  classes: tuple[str, ...]
  scene: Callable[[int, str, int, np.random.Generator], tuple[world.Scene | turntable.Turn, Label]]
  layouts: tuple[str, ...] = ("folder", "csv", "ucf101")
  drawn: bool = False
  frames: int = 24


LABEL_SETS = {
    "motion": LabelSet(MOTION, motion_scene),
    "appearance": LabelSet(APPEARANCE, appearance_scene),
    "biased": LabelSet(BIASED, biased_scene),
    "tags": LabelSet(tuple(t for kind in TAGS.values() for t in kind), tags_scene, ("hvu",), drawn=True),
    "needle": LabelSet(_FORMS, needle_scene),
    "redundant": LabelSet(MOTION, redundant_scene),
    "cluttered": LabelSet(_FORMS, cluttered_scene),
    "untrimmed": LabelSet(MOTION, untrimmed_scene),
    "kitchen": LabelSet(kitchen.CLASSES, kitchen.scene, ("nn_viterbi", "ms_tcn"), drawn=True, frames=240),
    "noisy_tags": LabelSet(tuple(t for kind in TAGS.values() for t in kind), noisy_tags_scene, ("hvu",), drawn=True),
    "conjunction": LabelSet(BIASED, conjunction_scene),
    "hands": LabelSet(hands.CLASSES, hands.scene, ("epic100",), drawn=True),
    "tones": LabelSet(TONES, tones_scene),
    "beats": LabelSet(BEATS, beats_scene),
    "sentences": LabelSet(sentences.SHAPES, sentences_scene, ("msrvtt", "coco"), drawn=True),
    "tracks": LabelSet(tracks.CLASSES, tracks.scene, ("imagenet_vid",), drawn=True),
    "acts": LabelSet(acts.CLASSES, acts.scene, ("ava",), drawn=True, frames=36),
    "turntable": LabelSet(turntable.CLASSES, turntable.scene, ("clips",), drawn=True),
}


def get(labels: str) -> LabelSet:
  if labels not in LABEL_SETS:
    raise errors.ConfigError(f"Toybox has no label set '{labels}'; it has {', '.join(LABEL_SETS)}"
                             f"{errors.hint(labels, LABEL_SETS)}.")
  return LABEL_SETS[labels]


def classes_of(labels: str) -> tuple[str, ...]:
  """Class names of a label set."""
  return get(labels).classes


SPLITS = ("train", "val", "test")


def rng_of(labels: str, split: str, index: int, seed: int) -> np.random.Generator:
  """The randomness of one video."""
  return np.random.default_rng((seed, list(LABEL_SETS).index(labels), SPLITS.index(split), index))


def scene_of(labels: str, split: str, index: int, frames: int, seed: int
             ) -> tuple[world.Scene | turntable.Turn, Label]:
  """Scene and label of one video; classes take turns."""
  chosen = get(labels)
  rng = rng_of(labels, split, index, seed)
  return chosen.scene(index % len(chosen.classes), split, frames, rng)
