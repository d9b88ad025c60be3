"""Claims: small experiments that say whether a method does what it is for, and by how much.

A file `configs/claims/NAME.py` has `get_claims()`, a list of `Claim`s. Each is run
for several seeds; what counts is the mean of the method over the seeds against that
of its baseline. `fit` and `accuracy` train and score small models on data that is
made on the fly, inside compiled programs.
"""

from collections.abc import Callable, Mapping, Sequence
import dataclasses
import datetime
import functools
import importlib.util
import json as json_lib
import pathlib
import re
import time
import types
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from vidx import errors, places
from vidx.bench import outcomes as outcomes_lib
from vidx.terminal import counted
from vidx.train.state import run_once

FOLDERS = (pathlib.Path("configs/claims"), places.configs() / "claims")


@dataclasses.dataclass(frozen=True)
class Claim:
  """One experiment.

  Attributes:
    name: short, unique in its file.
    statement: one sentence, what is claimed.
    run: seed -> {'method': figure, 'baseline': figure, other arms: figures}.
    margin: by how much the method has to be better.
    better: 'more' or 'less'.
    seeds: how many are run, unless the caller says otherwise.
    unit: of the figures.
  """

  name: str
  statement: str
  run: Callable[[int], Mapping[str, float]]
  margin: float = 0.0
  better: str = "more"
  seeds: int = 3
  unit: str = "%"


@dataclasses.dataclass(frozen=True)
class Outcome:
  """What came of a claim: figures per arm and seed, the gain over the baseline, and whether that is the margin."""

  claim: Claim
  figures: Mapping[str, Sequence[float]]
  seconds: float

  @property
  def gain(self) -> float:
    """Mean of the method less that of the baseline; the other way round where less is better."""
    gain = float(np.mean(self.figures["method"]) - np.mean(self.figures["baseline"]))
    return gain if self.claim.better == "more" else -gain

  @property
  def holds(self) -> bool:
    return self.gain >= self.claim.margin

  def to_json(self) -> dict[str, Any]:
    c = self.claim
    return {"name": c.name, "statement": c.statement, "unit": c.unit, "better": c.better, "margin": c.margin,
            "gain": self.gain, "holds": self.holds, "figures": {k: list(v) for k, v in self.figures.items()},
            "seconds": self.seconds}


def files() -> list[str]:
  """Names of the files of claims, sorted."""
  return sorted({path.stem for folder in FOLDERS for path in folder.glob("*.py")})


def listed(json: bool = False) -> str:
  """All files of claims, and below each its claims with what they state; or as JSON [{'file', 'name', 'statement'}]."""
  of = {name: load(name) for name in files()}
  if json:
    return json_lib.dumps([{"file": name, "name": c.name, "statement": c.statement} for name, claims in of.items()
                           for c in claims], indent=2)
  lines = [line for name, claims in of.items()
           for line in (name, *(f"  {name}/{c.name}: {c.statement}" for c in claims))]
  return "\n".join([*lines, "`vidx claims NAME[/CLAIM]...` runs some of them."])


def module(name: str) -> types.ModuleType:
  """A file of claims, run.

  Raises:
    ConfigError: there is no such file.
  """
  for folder in FOLDERS:
    if (folder / f"{name}.py").is_file():
      break
  else:
    known = files()
    raise errors.ConfigError(f"no claims are called '{name}'{errors.hint(name, known)};"
                             f" there are some for {', '.join(known) or 'nothing'} in {FOLDERS[0]}.")
  spec = importlib.util.spec_from_file_location(f"vidx_claims_{name}", folder / f"{name}.py")
  found = importlib.util.module_from_spec(spec)
  spec.loader.exec_module(found)
  return found


def load(name: str) -> list[Claim]:
  """The claims of a file; raises ConfigError as `module`."""
  return module(name).get_claims()


def linear_probe(x: np.ndarray, y: np.ndarray, classes: int, strength: float) -> Callable[[np.ndarray], np.ndarray]:
  """A function (N, D) -> (N,) classes, fitted to examples by ridge regression on entries of unit deviation.

  Args:
    x: (M, D) examples.
    y: (M,) their classes.
    classes: how many there are.
    strength: of the ridge.
  """
  mean, std = x.mean(0), x.std(0) + 1e-6
  z = (x - mean) / std
  targets = np.eye(classes)[y] - 1 / classes
  weights = np.linalg.solve(z.T @ z + strength * np.eye(z.shape[1]), z.T @ targets)
  return lambda x: ((x - mean) / std @ weights).argmax(1)


def check(claim: Claim, seeds: int = 0) -> Outcome:
  """Runs a claim for seeds 0, 1, ..."""
  start, figures = time.perf_counter(), {}
  for seed in range(seeds or claim.seeds):
    for arm, value in claim.run(seed).items():
      figures.setdefault(arm, []).append(float(value))
  return Outcome(claim, figures, time.perf_counter() - start)


def chosen(names: Sequence[str]) -> list[tuple[str, Claim]]:
  """(file, claim) of claims of files and of single ones, FILE/CLAIM; raises ConfigError where there is none such."""
  of_file = functools.cache(lambda file: {c.name: c for c in load(file)})  # claims of a file share what they train
  found = []
  for name in names:
    file, slash, single = name.partition("/")
    claims = of_file(file)
    if slash and single not in claims:
      raise errors.ConfigError(f"{file} has no claim '{single}'{errors.hint(single, claims)}; it has"
                               f" {', '.join(claims)}.")
    found += [(file, claims[single])] if slash else [(file, c) for c in claims.values()]
  return found


def main(names: Sequence[str], seeds: int = 0, json: bool = False, keep: bool = False) -> int:
  """Runs claims, prints them as they come, and keeps them in their table if asked; 0 where all hold, else 1."""
  kept, wanted, outcomes = outcomes_lib.folder_of(FOLDERS) if keep else None, chosen(names), []
  for name, claim in wanted:
    outcome = check(claim, seeds)
    outcomes.append((name, outcome))
    if kept:
      outcomes_lib.keep(kept, outcomes_lib.row_of(name, outcome.to_json(), datetime.date.today().isoformat()))
    if not json:
      print(_text(name, outcome), flush=True)
  if json:
    print(json_lib.dumps([{"file": name, **o.to_json()} for name, o in outcomes], indent=2))
  missed = [f"{name}/{o.claim.name}" for name, o in outcomes if not o.holds]
  if not json:
    print(f"{len(outcomes) - len(missed)} of {counted(len(outcomes), 'claim')} held"
          + (f"; not {', '.join(missed)}" if missed else ""))
  return 1 if missed else 0


def _text(name: str, outcome: Outcome) -> str:
  c = outcome.claim
  lines = [f"{name}/{c.name}: {c.statement}"]
  for arm, values in outcome.figures.items():
    lines.append(f"  {arm:24} {np.mean(values):9.3f} {c.unit}   ({', '.join(f'{v:.3f}' for v in values)})")
  lines.append(f"  gain {outcome.gain:.3f}, wanted {c.margin:.3f} ({c.better} is better):"
               f" {'holds' if outcome.holds else 'DOES NOT HOLD'}, {outcome.seconds:.0f} s")
  return "\n".join(lines)


# ---------------------------------------------------------------- small trainings

_SAID = ("losses", "figures", "maps")  # collections of what a pass says, which is not kept
Batches = Callable[[jax.Array], tuple[Any, Any]]


def fit(model: Any, batches: Batches, steps: int, seed: int = 0, rate: float = 3e-3,
        loss: Callable[[Any, Any], jax.Array] | None = None, frozen: Sequence[str] = (), begin: Any = None,
        momentum: float | None = None) -> Any:
  """Variables of a model after training by AdamW, or SGD, with a cosine schedule.

  Args:
    model: called as model.apply(variables, x, train=True) -> {'logits': (B, C)} or what `loss` takes. What its
      blocks put into the collection `losses` is added.
    batches: key -> (x, label), traced; x is an array or a tuple of them, label (B,) or what `loss` takes.
    steps: of training.
    seed: of initialisation, data and dropout.
    rate: the highest learning rate.
    loss: (outputs, label) -> (); cross entropy of the logits where None.
    frozen: patterns of parameters, named as 'teacher/stem/conv/kernel', that are not trained.
    begin: variables, or some of them, that take the place of fresh ones.
    momentum: of SGD, which takes the place of AdamW where it is given.
  """
  start, step = _programs(model, batches, steps, rate, loss or cross_entropy, tuple(frozen), momentum)
  key = jax.random.PRNGKey(seed)
  carry = start(key)
  if begin is not None:
    params, stats, state = carry
    merged = _merged({"params": params, **stats}, begin)
    carry = (merged.pop("params"), merged, state)
  for i in range(steps):
    carry = step(carry, jax.random.fold_in(key, i))
  params, stats, _ = carry
  return {"params": params, **stats}


def cross_entropy(out: Mapping[str, jax.Array], label: jax.Array) -> jax.Array:
  """Mean softmax cross entropy of 'logits' (B, C) for classes (B,)."""
  return optax.softmax_cross_entropy_with_integer_labels(out["logits"], label).mean()


def hits(out: Mapping[str, jax.Array], label: jax.Array) -> jax.Array:
  """(B,): whether the highest of the 'logits' (B, C) is that of the class."""
  return out["logits"].argmax(-1) == label


def _merged(fresh, given):
  """Nested mappings with the leaves of `given`, of which there may be fewer; copied, for a step donates them."""
  if not isinstance(fresh, Mapping):
    return jnp.array(given)
  return {k: _merged(v, given[k]) if k in given else v for k, v in fresh.items()}


def _arguments(x):
  return x if isinstance(x, tuple) else (x,)


@functools.lru_cache(maxsize=16)
def _programs(model, batches, steps, rate, loss, frozen=(), momentum=None):
  """The start, key -> carry, and the step, (carry, key) -> carry, of `fit`, compiled once for all seeds.

  Steps are not scanned: inside a loop, XLA runs convolutions several times slower on a CPU.
  """
  falling = optax.cosine_decay_schedule(rate, steps)
  tx = optax.adamw(falling, weight_decay=1e-4) if momentum is None else optax.sgd(falling, momentum)
  if frozen:
    still = lambda path: any(re.search(p, jax.tree_util.keystr(path, simple=True, separator="/")) for p in frozen)
    kinds = lambda params: jax.tree_util.tree_map_with_path(lambda path, _: "still" if still(path) else "train", params)
    tx = optax.multi_transform({"train": tx, "still": optax.set_to_zero()}, kinds)

  @run_once
  def start(key):
    variables = model.init(key, *_arguments(batches(key)[0]))
    variables = {k: v for k, v in variables.items() if k not in _SAID}
    params = variables.pop("params")
    return params, variables, tx.init(params)

  @functools.partial(jax.jit, donate_argnums=0)
  def step(carry, key):
    params, stats, state = carry
    data_key, dropout_key = jax.random.split(key)
    x, label = batches(data_key)

    def total(params):
      out, new = model.apply({"params": params, **stats}, *_arguments(x), train=True, rngs={"dropout": dropout_key},
                             mutable=[*stats, "losses"])
      new = dict(new)
      added = sum((jnp.sum(v) for v in jax.tree.leaves(new.pop("losses", {}))), jnp.zeros(()))
      return loss(out, label) + added, {k: new[k] for k in stats}

    grads, stats = jax.grad(total, has_aux=True)(params)
    updates, state = tx.update(grads, state, params)
    return optax.apply_updates(params, updates), stats, state

  return start, step


def accuracy(model: Any, variables: Any, batches: Batches, count: int = 8, seed: int = 0,
             told: Callable[[Any, Any], jax.Array] = hits) -> float:
  """Percent of what is right in `count` batches, other than those of training.

  Args:
    model: see `fit`.
    variables: of it.
    batches: see `fit`.
    count: of batches.
    seed: of the data.
    told: (outputs, label) -> what is right, of any shape; whether the logits name the class where left out.
  """
  share = _share(model, batches, told)
  keys = jax.random.split(jax.random.PRNGKey(10_000 + seed), count)
  return 100 * float(np.mean([share(variables, key) for key in keys]))


@functools.lru_cache(maxsize=16)
def _share(model, batches, told):

  @jax.jit
  def share(variables, key):
    x, label = batches(key)
    return told(model.apply(variables, *_arguments(x)), label).mean()

  return share
