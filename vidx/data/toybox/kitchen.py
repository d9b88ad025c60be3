"""Long videos of a hand at work: activities are sequences of actions drawn from a grammar.

An activity is a list of steps that are taken or left out; what is left is the
transcript, of 4 to 8 actions. How long an action takes is log-normal. The label of a
video is its runs: (class id, frames) of every action in order.
"""

import dataclasses

import numpy as np

from vidx.data.toybox import world

CLASSES = ("idle", "take", "cut", "spread", "pour", "stir", "shake", "wipe")
SHORTEST, LONGEST = 4, 8  # transcripts
_USUAL = {"idle": 0.7, "take": 0.7, "cut": 1.2, "spread": 1.0, "pour": 0.8, "stir": 1.4, "shake": 1.0, "wipe": 0.9}
_SPREAD = 0.45  # of the logarithm of lengths

#: Steps of the activities in order, and how often each is taken.
ACTIVITIES = {
    "sandwich": (("idle", 0.5), ("take", 0.6), ("cut", 0.9), ("spread", 0.9), ("take", 0.3), ("cut", 0.3),
                 ("spread", 0.4), ("shake", 0.3), ("wipe", 0.5), ("idle", 0.4)),
    "coffee": (("take", 0.5), ("idle", 0.4), ("pour", 0.9), ("stir", 0.8), ("idle", 0.3), ("pour", 0.5), ("stir", 0.4),
               ("shake", 0.4), ("wipe", 0.5), ("take", 0.4)),
    "salad": (("wipe", 0.4), ("take", 0.5), ("cut", 0.9), ("idle", 0.3), ("pour", 0.6), ("shake", 0.8), ("stir", 0.4),
              ("cut", 0.4), ("take", 0.3), ("wipe", 0.4)),
    "pancake": (("idle", 0.4), ("pour", 0.8), ("stir", 0.7), ("shake", 0.6), ("wipe", 0.3), ("pour", 0.3),
                ("spread", 0.7), ("take", 0.4), ("idle", 0.4), ("cut", 0.4)),
}

Runs = tuple[tuple[int, int], ...]


def transcript(activity: str, rng: np.random.Generator) -> tuple[int, ...]:
  """Class ids in order, no class twice in a row."""
  while True:
    taken = [name for name, share in ACTIVITIES[activity] if rng.uniform() < share]
    taken = [name for i, name in enumerate(taken) if not i or name != taken[i - 1]]
    if SHORTEST <= len(taken) <= LONGEST:
      return tuple(CLASSES.index(name) for name in taken)


def runs(label: int, frames: int, rng: np.random.Generator, exact: bool = False) -> Runs:
  """What happens in a video, and how long.

  Args:
    label: of the activity; they take turns.
    frames: of a video of 6 actions of usual length.
    rng: of everything.
    exact: videos have exactly so many frames.
  """
  order = transcript(tuple(ACTIVITIES)[label % len(ACTIVITIES)], rng)
  usual = np.array([_USUAL[CLASSES[c]] for c in order])
  lengths = usual * np.exp(_SPREAD * rng.normal(size=len(order)))
  total = max(len(order), frames if exact else round(frames / 6 * lengths.sum()))
  shares = np.cumsum(lengths) / lengths.sum() * (total - len(order))
  return tuple((c, 1 + int(n)) for c, n in zip(order, np.diff(np.round(shares), prepend=0)))


def frame_labels(of: Runs) -> np.ndarray:
  """Class ids (T,)."""
  return np.repeat(*np.array(of).T)


def prototype_features(labels: np.ndarray, rng: np.random.Generator, size: int = 64, noise: float = 1.0,
                       drift: float = 0.5, period: int = 64, classes: int = len(CLASSES)) -> np.ndarray:
  """float32 (T, D): a vector per class, the same in every video, under a slow drift and noise.

  Args:
    labels: (T,) class ids.
    rng: of drift and noise.
    size: D.
    noise: of every frame, as a share of the vectors' spread.
    drift: likewise, of what changes slowly.
    period: frames in which the drift becomes another.
    classes: how many there are.
  """
  prototypes = np.random.default_rng(0).normal(size=(classes, size))
  knots = 2 + len(labels) // period
  slow = rng.normal(size=(knots, size))
  at = np.linspace(0, knots - 1, len(labels))
  low = np.minimum(at.astype(int), knots - 2)
  part = (at - low)[:, None]
  slow = (1 - part) * slow[low] + part * slow[low + 1]
  return (prototypes[labels] + drift * slow + noise * rng.normal(size=(len(labels), size))).astype(np.float32)


# ---------------------------------------------------------------- what it looks like


@dataclasses.dataclass(frozen=True)
class Act:
  """What the hand holds, where, and how it moves: an ellipse or a swing.

  Attributes:
    tool: a key of TOOLS.
    place: a key of PLACES.
    reach: half axes of the movement, shares of the picture.
    turn: radians by which the tool tilts.
    period: frames of one movement.
  """

  tool: str
  place: str
  reach: tuple[float, float]
  turn: float
  period: float


TOOLS = {"bread": ("square", (214, 160, 88)), "knife": ("triangle", (200, 60, 60)), "bottle": ("drop", (50, 170, 80)),
         "spoon": ("cross", (190, 70, 180)), "lid": ("circle", (60, 100, 215)), "cloth": ("star", (240, 205, 60))}
PLACES = {"board": (0.3, 0.6), "cup": (0.7, 0.6), "middle": (0.5, 0.6)}
ACTS = {
    "take": Act("bread", "board", (0.0, 0.2), 0.0, 40.0),
    "cut": Act("knife", "board", (0.0, 0.07), 0.0, 6.0),
    "spread": Act("knife", "board", (0.1, 0.0), 0.3, 20.0),
    "pour": Act("bottle", "cup", (0.0, 0.02), 0.8, 30.0),
    "stir": Act("spoon", "cup", (0.07, 0.05), 0.0, 12.0),
    "shake": Act("lid", "cup", (0.07, 0.0), 0.0, 4.0),
    "wipe": Act("cloth", "middle", (0.3, 0.04), 0.0, 32.0),
}
_SKIN = (226, 172, 140)


def scene(label: int, split: str, frames: int, rng: np.random.Generator) -> tuple[world.Scene, Runs]:
  """A board, a cup, and a hand with a tool; the hand is away while nothing happens."""
  del split
  found = runs(label, frames, rng)
  labels = frame_labels(found)
  time, zeros = np.arange(len(labels)), np.zeros(len(labels))
  places = {name: np.add(at, rng.normal(0, 0.03, 2)) for name, at in PLACES.items()}

  def thing(shape, colour, x, y, size, angle=zeros):
    shade = np.clip(np.add(colour, rng.normal(0, 8, 3)), 0, 255)
    return world.Object(shape, tuple(int(v) for v in shade), x + zeros, y + zeros, size + zeros, angle)

  x, y, angle = zeros.copy(), zeros.copy(), zeros.copy()
  for name, act in ACTS.items():
    phase = 2 * np.pi * (time / act.period + rng.uniform())
    here = labels == CLASSES.index(name)
    x[here] = (places[act.place][0] + act.reach[0] * np.cos(phase))[here]
    y[here] = (places[act.place][1] + act.reach[1] * np.sin(phase))[here]
    angle[here] = (act.turn * np.sin(phase))[here]
  held = {tool: np.isin(labels, [CLASSES.index(n) for n, act in ACTS.items() if act.tool == tool]) for tool in TOOLS}
  objects = [thing("square", (150, 105, 60), *places["board"], 0.2),
             thing("circle", (70, 190, 200), *places["cup"], 0.15)]
  objects += [thing(*TOOLS[tool], x, y, 0.12 * seen, angle) for tool, seen in held.items()]
  objects.append(thing("hook", _SKIN, x + 0.05, y - 0.16, 0.14 * (labels != CLASSES.index("idle")), angle + np.pi))
  background = world.some(rng, world.BACKGROUNDS)
  return world.Scene(background, int(rng.integers(1 << 31)), tuple(objects), np.zeros((len(labels), 2)),
                     440.0 + zeros), found


# ---------------------------------------------------------------- features of frames

CELLS, WINDOW = 4, 9  # of a side of the picture; frames
SIZE = 4 * CELLS**2  # D


def describe(frames: np.ndarray) -> np.ndarray:
  """Colours and changes of the cells of a grid, in the frames around each: float32 (T, D).

  Colours are differences from the video's median, so that the background says
  nothing; changes are mean differences of neighbouring frames. Both are means over
  a window, at the ends over what there is of it.

  Args:
    frames: uint8 (T, H, W, 3), H and W at least CELLS.
  """
  x = frames.astype(np.float32)
  change = np.abs(np.diff(x, axis=0, prepend=x[:1])).mean(-1, keepdims=True)
  rows, columns = (np.arange(CELLS) * side // CELLS for side in x.shape[1:3])

  def cells(values):
    sums = np.add.reduceat(np.add.reduceat(values, rows, 1), columns, 2)
    return sums.reshape(len(x), -1) * (CELLS**2 / (x.shape[1] * x.shape[2]))

  colours = cells(x)
  pooled = np.concatenate([(colours - np.median(colours, axis=0)) / 16, cells(change) / 8], axis=1)
  sums = np.concatenate([np.zeros((1, SIZE)), np.cumsum(pooled, axis=0, dtype=np.float64)])
  at = np.arange(len(x))
  first, last = np.maximum(at - WINDOW // 2, 0), np.minimum(at + WINDOW // 2 + 1, len(x))
  return ((sums[last] - sums[first]) / (last - first)[:, None]).astype(np.float32)
