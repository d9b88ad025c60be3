"""Savings on the clock for networks that drop frames or tokens: segments, compaction, regrouping.

A compiler needs shapes; a sampler decides per example. So a trunk is cut behind its
samplers into segments. A segment runs on a group of examples, the host reads how
many entries of each are live, examples with similar counts are put together, from
all batches so far, with the entries cut to the next of a few capacities, and the
following segment, compiled once per capacity, goes on with them.
"""

import collections
from collections.abc import Callable, Iterable, Mapping, Sequence
import dataclasses
import functools
import itertools
import time
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from vidx.measure import live

Sizes = tuple[int, ...]  # live entries, or a capacity, per pathway
_ALIGNED = 64  # bytes; where arrays of XLA's CPU devices begin
_SLACK = 0.02  # of the time behind a cut; every capacity is one more program to compile


def ladder(counts: np.ndarray, cost: Callable[[np.ndarray], np.ndarray], rungs: int, slack: float = 0.0
           ) -> tuple[int, ...]:
  """The capacities, at most `rungs`, at which examples with these live counts cost least in all.

  The largest count is always one. Exact, by dynamic programming over the distinct counts.

  Args:
    counts: (N,) live entries.
    cost: seconds at each of some capacities.
    rungs: most capacities.
    slack: the fewest capacities are taken whose cost is at most this share above the best.

  Returns:
    Increasing capacities.
  """
  sizes, times = np.unique(np.asarray(counts), return_counts=True)
  price, below = cost(sizes), np.concatenate([[0], np.cumsum(times)])
  best = np.full((rungs + 1, len(sizes) + 1), np.inf)
  best[:, 0] = 0
  back = np.zeros(best.shape, int)
  for r in range(1, rungs + 1):
    for j in range(1, len(sizes) + 1):  # the first j sizes, the last of them a rung
      total = best[r - 1, :j] + price[j - 1] * (below[j] - below[:j])
      back[r, j] = total.argmin()
      best[r, j] = total[back[r, j]]
  found, j = [], len(sizes)
  r = int(np.flatnonzero(best[:, j] <= (1 + slack) * best[rungs, j])[0])
  while j:
    found.append(int(sizes[j - 1]))
    r, j = r - 1, back[r, j]
  return tuple(reversed(found))


class Adaptive:
  """A trunk with samplers, run in segments; gives what the trunk gives, however examples are grouped.

  `Adaptive(model, variables).run(batches)` takes videos batch by batch. `calibrate`
  measures, on some of them, what each segment costs at several capacities, and
  chooses the capacities; until then they are quarters of the whole.

  Attributes:
    ladders: per cut and pathway, increasing capacities; empty before the first batch.
    macs: of single examples from the counts that `run` gives, see LiveMacs; None before the first batch.
    example: shape of one example; None before the first batch.
  """

  def __init__(self, model, variables: Any, *, group: int = 0, rungs: int = 12,
               prepare: Callable[[jax.Array], jax.Array] = lambda video: video, host: bool | None = None):
    """A runner for one model.

    Args:
      model: a trunk, see vidx.backbones.chain.Trunk.
      variables: of the model.
      group: examples that go on together; 0: 4 on a CPU, elsewhere as many as the first batch has.
      rungs: most capacities per cut and pathway.
      prepare: applied to batches on the device, such as a normalisation.
      host: whether examples are regrouped by NumPy; by default on a CPU, where the device's memory is the host's.
    """
    self.model, self.variables, self.rungs, self._prepare = model, variables, rungs, prepare
    cpu = jax.default_backend() == "cpu"
    self._host = cpu if host is None else host
    self._ahead = 0 if cpu else 1  # an accelerator has work while the host reads; on a CPU the two share the cache
    self.group = group or (4 if cpu else 0)
    self.ladders: list[list[tuple[int, ...]]] = []
    self.macs: live.LiveMacs | None = None
    self.example: jax.ShapeDtypeStruct | None = None
    self._segments: list[Callable] = []
    self._seen: list[Any] = []  # sample ways per cut, for `calibrate`
    self._met: list[list[np.ndarray]] = []  # lengths per cut, where they are recorded

  @property
  def cuts(self) -> int:
    """How many times the trunk is cut."""
    return max(len(self._segments) - 1, 0)

  def places(self, video: jax.Array | jax.ShapeDtypeStruct) -> tuple[str, ...]:
    """The sites at which entries are dropped, for a batch of such a shape."""
    self._plan(video)
    return self.macs.places

  def segment(self, k: int, variables: Any, x: Any) -> tuple:
    """Segment k, a pure function of videos or ways to (ways, lengths, counts by site) or (outputs, counts by site)."""
    def call(model, x):
      ways = model.walk(x if k else model.enter(self._prepare(x)), False, *self._bounds[k])
      return (model.leave(ways),) if k == self.cuts else (ways, model.lengths(ways))

    with live.counting() as counts:
      out = self.model.apply(variables, x, method=call)
    return *out, counts

  def run(self, batches: Iterable[jax.Array]) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Outputs for videos.

    Args:
      batches: videos (B, T, H, W, 3) or images, of one shape but for B.

    Returns:
      The model's outputs, (N, ...) each, in the order of the videos; and {site: (N,) int32}, the frames
      that a sampler left live, or the most tokens of a frame.
    """
    flying, done, first, queues = collections.deque(), [], 0, []

    def launch(k, ids, x):
      flying.append((k, ids, self._segments[k](self.variables, x)))

    def land():
      k, ids, (*out, counts) = flying.popleft()
      if k == self.cuts:
        done.append((k, ids, (jax.device_get(out[0]), jax.device_get(counts))))
        return
      done.append((k, ids, counts))
      ways, lengths = self._seen_at(k, ids, out[0], np.asarray(out[1])[:len(ids)])
      self._seen[k] = ways
      for group in self._enqueue(queues[k], k, ways, ids, lengths):
        launch(k + 1, *group)

    for video in batches:
      self._plan(video)
      queues = queues or [{} for _ in range(self.cuts)]
      launch(0, np.arange(first, first + len(video)), video)
      first += len(video)
      while len(flying) > self._ahead:
        land()
    for k in range(-1, self.cuts):
      for group in _drain(queues[k]) if k >= 0 else ():
        launch(k + 1, *group)
      while flying:
        land()
    each = [_in_order([(ids, tree) for at, ids, tree in done if at == k]) for k in range(self.cuts + 1)]
    outputs, counts = each.pop()
    return outputs, functools.reduce(lambda a, b: {**a, **b}, each, {}) | counts

  def calibrate(self, batches: Sequence[jax.Array], points: int = 3) -> None:
    """Chooses the ladders from the lengths of some videos and from measured times.

    Args:
      batches: as in `run`.
      points: capacities per cut and pathway at which the next segment is measured.
    """
    self._plan(batches[0])
    self._met = [[] for _ in range(self.cuts)]
    self.run(batches)
    met, self._met = self._met, []
    for k, lengths in enumerate(met):
      found = np.maximum(np.concatenate(lengths), 1)
      largest, whole = tuple(map(int, found.max(0))), [rungs[-1] for rungs in self.ladders[k]]
      for way, size in enumerate(whole):
        tried = sorted({int(n) for n in np.quantile(found[:, way], np.linspace(0, 1, points))})
        seconds = [self._seconds(k, (*largest[:way], n, *largest[way + 1:])) for n in tried]
        chosen = ladder(found[:, way], lambda n: _line(n, tried, seconds), self.rungs, _SLACK)
        self.ladders[k][way] = tuple(sorted({*chosen, size}))

  def _plan(self, video):
    """What the first batch decides: segments, the group's size, ladders of quarters."""
    self.group = self.group or len(video)
    if self.macs is None:
      self.example = jax.ShapeDtypeStruct((1, *video.shape[1:]), jnp.float32)
      self.macs = live.LiveMacs(self.model, self.example)
      pieces = self.model.apply(self.variables, method=lambda m: len(m.pieces()))
      starts = [start for start, _ in self.macs.segments if start < pieces]
      self._bounds = list(itertools.pairwise([*starts, None]))
      self._segments = [jax.jit(functools.partial(self.segment, k)) for k in range(len(self._bounds))]
      self._seen = [None] * self.cuts
    if len(self.ladders) < self.cuts:
      x = jax.ShapeDtypeStruct(video.shape, video.dtype)
      for segment in self._segments[:-1]:
        x, *_ = jax.eval_shape(segment, self.variables, x)
        self.ladders.append([tuple(sorted({-(-n * i // 4) for i in range(1, 5)})) for n in self.model.capacities(x)])

  def _seen_at(self, k, ids, ways, lengths):
    """The ways and lengths (B, number of pathways) that the host goes on with behind cut k."""
    if self._met:
      self._met[k].append(lengths)
    return ways, lengths

  def _seconds(self, k, sizes):
    """Of the segment behind cut k for a group at some capacities; the quickest of three."""
    seen = jax.tree.map(np.asarray, self._seen[k])
    rows = np.arange(self.group) % len(seen[0][0])
    ways = jax.tree.map(jnp.asarray, _Queue(self.model, sizes, self.group, True).gathered([(seen, rows)]))
    call = lambda: jax.block_until_ready(self._segments[k + 1](self.variables, ways))
    call()
    times = []
    for _ in range(3):
      start = time.perf_counter()
      call()
      times.append(time.perf_counter() - start)
    return min(times)

  def _enqueue(self, queues, k, ways, ids, lengths):
    """Puts examples into the queues of their capacities; yields (ids, ways) of groups that are full."""
    source = jax.tree.map(np.asarray, ways) if self._host else ways
    keys = zip(*([rungs[i] for i in np.searchsorted(rungs, lengths[:, way])]  # the next rung
                 for way, rungs in enumerate(self.ladders[k])))
    alike = collections.defaultdict(list)
    for row, sizes in enumerate(keys):
      alike[sizes].append(row)
    for sizes, rows in alike.items():
      queue = queues.setdefault(sizes, _Queue(self.model, sizes, self.group, self._host))
      while rows:
        some, rows = rows[:queue.room], rows[queue.room:]
        queue.entries.append((source, some, ids[some]))
        if not queue.room:
          yield queue.empty()


@dataclasses.dataclass
class _Queue:
  """Examples that wait for a segment at one capacity.

  Attributes:
    model: the trunk.
    sizes: the capacity, per pathway.
    group: how many go on together.
    host: whether NumPy puts them together.
    entries: (ways, rows of these, ids) triples.
  """

  model: Any
  sizes: Sizes
  group: int
  host: bool
  entries: list = dataclasses.field(default_factory=list)

  @property
  def waiting(self) -> int:
    return sum(len(ids) for *_, ids in self.entries)

  @property
  def room(self) -> int:
    return self.group - self.waiting

  def empty(self):
    """(ids, ways) of all that waits, in arrays of `group` examples, or of half, a quarter, ... where these suffice."""
    entries, self.entries = self.entries, []
    ways = self.gathered([(ways, rows) for ways, rows, _ in entries])
    return np.concatenate([ids for *_, ids in entries]), ways

  def gathered(self, parts):
    """Some rows of some ways, one after the other, at this capacity."""
    waiting, size = sum(len(rows) for _, rows in parts), self.group
    while size % 2 == 0 and size // 2 >= waiting:
      size //= 2
    if not self.host:
      return self._on_device(parts, size)
    fitted = [jax.tree.map(np.asarray, self.model.fit(ways, self.sizes)) for ways, _ in parts]
    rows = [(part, row) for part, (_, rows) in enumerate(parts) for row in rows]
    stacked = lambda *leaves: _stacked([leaves[part][row] for part, row in rows], size)
    return jax.tree.map(stacked, *fitted)

  def _on_device(self, parts, size):
    out, start = None, 0
    for ways, rows in parts:
      out = _write(self.model, self.sizes, size, out, ways, np.resize(rows, size), start)
      start += len(rows)
    return out


def _stacked(entries: Sequence[np.ndarray], size: int) -> np.ndarray:
  """The entries, and zeros behind them up to `size`, where a CPU device takes them without a copy."""
  first, many = entries[0], size * entries[0].nbytes
  room = np.empty(many + _ALIGNED, np.uint8)
  start = -room.ctypes.data % _ALIGNED
  out = room[start:start + many].view(first.dtype).reshape(size, *first.shape)
  np.stack(entries, out=out[:len(entries)])
  out[len(entries):] = 0
  return out


@functools.partial(jax.jit, static_argnums=(0, 1, 2), donate_argnums=3)
def _write(model, sizes, size, out, ways, rows, start):
  """Writes rows of the ways into `out` from `start` on.

  Rows past the end hold garbage; a later write overwrites them or they are masked.
  """
  def write(old, z):
    old = jnp.zeros((size, *z.shape[1:]), z.dtype) if old is None else old
    return old.at[start + jnp.arange(size)].set(z[rows], mode="drop")
  ways = model.fit(ways, sizes)
  return jax.tree.map(lambda z: write(None, z), ways) if out is None else jax.tree.map(write, out, ways)


def _drain(queues: Mapping[Sizes, _Queue]):
  """Yields (ids, ways) of what is left, small capacities with large ones where these have room."""
  left = sorted((queue for queue in queues.values() if queue.waiting), key=lambda q: q.sizes, reverse=True)
  for i, queue in enumerate(left):
    for other in left[i + 1:]:
      if other.waiting <= queue.room and all(a <= b for a, b in zip(other.sizes, queue.sizes)):
        queue.entries += other.entries
        other.entries = []
    if queue.waiting:
      yield queue.empty()


def _line(sizes, known, values):
  """Values at some sizes on lines between known ones, and on the last lines beyond."""
  if len(known) == 1:
    return np.asarray(sizes) * values[0] / known[0]
  at = np.clip(np.searchsorted(known, sizes), 1, len(known) - 1)
  known, values = np.asarray(known), np.asarray(values)
  slope = (values[at] - values[at - 1]) / (known[at] - known[at - 1])
  return values[at - 1] + slope * (sizes - known[at - 1])


def _in_order(parts):
  """Leaves (N, ...) of (ids, tree) pairs whose leaves may have padding behind, by id."""
  order = np.argsort(np.concatenate([ids for ids, _ in parts]))
  cut = [jax.tree.map(lambda z, n=len(ids): np.asarray(z)[:n], tree) for ids, tree in parts]
  return jax.tree.map(lambda *zs: np.concatenate(zs)[order], *cut)
