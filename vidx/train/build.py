"""What a config means: model, task, optimiser, mesh and shapes of a run, before anything is allocated."""

from collections.abc import Mapping, Sequence
import dataclasses
import math
import os
from typing import Any

import flax
import jax
import jax.numpy as jnp
from ml_collections import ConfigDict
import numpy as np

from vidx import errors, systems, tasks
from vidx.data import batch as batch_lib, datasets, examples, notices, plans, tokens, triplets
from vidx.data.records import LABEL, Dataset
from vidx.nn import tracing
from vidx.tasks import base
from vidx.terminal import counted
from vidx.train import config as config_lib, optim, schedule as schedules
from vidx.train import sharding, state as state_lib, step as step_lib

# What networks and the libraries below them raise for numbers that they cannot have.
_OF_FIELDS = (ArithmeticError, IndexError, TypeError, ValueError, flax.errors.FlaxError)


@dataclasses.dataclass(frozen=True)
class Run:
  """What a config means: everything that is built before the first step.

  Attributes:
    unit: what an example is called: see `examples.unit`.
    inputs: shapes of what the model takes, of one example.
    abstract: shapes of the state; with `train.seeds` above 1 every leaf has their axis in front.
    init: () -> TrainState, placed.
  """

  config: ConfigDict
  model: Any
  task: Any
  mesh: jax.sharding.Mesh
  tx: Any
  schedule: Any
  dtype: Any
  num_classes: int | dict[str, int]
  total_steps: int
  steps_per_epoch: float
  unit: str
  inputs: Any
  abstract: state_lib.TrainState
  shardings: state_lib.TrainState
  init: Any

  @property
  def videos(self) -> str:
    """What its records are called: clips are of videos."""
    return "videos" if self.unit == "clips" else self.unit

  @property
  def pixels(self) -> bool:
    """Whether examples are of pixels, all of one size."""
    return self.unit not in ("videos", "texts")

  @property
  def parameters(self) -> int:
    """Numbers that are trained, of one seed."""
    return sum(math.prod(x.shape) for x in jax.tree.leaves(self.abstract.params)) // self.config.train.seeds

  @property
  def last_step(self) -> int:
    """After which training ends: that of the schedule, or an earlier one of `train.max_steps`."""
    return min(self.total_steps, self.config.train.max_steps or self.total_steps)

  def count(self, train_set: Dataset) -> int:
    """Of how many examples it learns: of images of which triplets are drawn, the triplets of an epoch."""
    return train_set.epoch if self.unit == "triplets" else len(train_set)

  def told(self, train_set: Dataset, val_set: Dataset, start: int = 0) -> str:
    """A line about it: sizes, and how many steps of how many examples; one more where a batch holds some repeatedly.

    Args:
      train_set: what is learned.
      val_set: what is evaluated.
      start: steps that are done.
    """
    steps = counted(self.last_step, "step") if self.last_step == self.total_steps else (
        f"{self.last_step} of {counted(self.total_steps, 'step')} (train.max_steps)")
    seeds, batch_size = self.config.train.seeds, self.config.train.batch_size
    line = (f"{self.config.system.name}: {counted(self.parameters, 'parameter')},"
            f" {counted(self.count(train_set), self.unit[:-1])} to train on, {len(val_set):,} to evaluate, {steps},"
            f" {counted(jax.device_count(), 'device')}"
            + (f", {seeds} seeds" if seeds > 1 else "") + (f", resumed at step {start}" if start else ""))
    return line if batch_size <= train_set.epoch else (
        f"{line}\nnote: train.batch_size={batch_size} is larger than an epoch of {train_set.epoch}, so every batch"
        f" holds examples more than once; with at most {train_set.epoch} it need not")

  def step(self):
    """The compiled step; its state is donated."""
    step = step_lib.make_train_step(self.model, self.task, self.tx, self.schedule, self.config,
                                    self.num_classes, self.dtype, self.total_steps)
    several = lambda states, batch: state_lib.over_seeds(lambda state: step(state, batch))(states)
    spread = tracing.spread_over(sharding.parts(self.mesh))
    return jax.jit(spread(several if self.config.train.seeds > 1 else step), donate_argnums=0,
                   out_shardings=(self.shardings, sharding.replicated(self.mesh)))


def compute_dtype(precision: str) -> Any:
  """bfloat16 on TPU and GPU, float32 on a CPU, unless named."""
  names = {"float32": jnp.float32, "bfloat16": jnp.bfloat16}
  if precision == "auto":
    return jnp.float32 if jax.default_backend() == "cpu" else jnp.bfloat16
  errors.check_choice("train.precision", precision, ("auto", *names))
  return names[precision]


def make_model(config: ConfigDict, task, sizes: Mapping[str, int], dtype: Any) -> tuple[Any, int | dict[str, int]]:
  """The model of a config, and its number of classes (of several heads {head: number}).

  Args:
    config: complete config.
    task: says which targets are learned.
    sizes: classes by target; `system.num_classes` may be larger.
    dtype: compute dtype.

  Raises:
    ConfigError: an unknown system or field, or fewer classes than the data has.
  """
  fields = {k: v.to_dict() if isinstance(v, ConfigDict) else v for k, v in config.system.items() if k != "name"}
  fields = systems.at_crop(config.system.name, fields, config.data.crop, task.activation)
  wanted = task.num_classes(sizes)
  name = config.system.name
  takes = name not in systems.rows() or "num_classes" in systems.field_names(name, fields.get("trunk"))
  if not takes and "num_classes" not in fields:
    return systems.create_model(config.system.name, **{"dtype": dtype, **fields}), wanted
  given = fields.setdefault("num_classes", wanted)
  for head in wanted if isinstance(wanted, Mapping) else ("",):
    have, need = (given.get(head, 0) if isinstance(given, Mapping) else given), wanted[head] if head else wanted
    if (isinstance(given, Mapping) != bool(head)) or have < need:
      raise errors.ConfigError(f"system.num_classes is {given}, but the classes of the data are {wanted}.")
  model = systems.create_model(config.system.name, **{"dtype": dtype, **fields})
  return systems.of_clips(model, config.system.name, fields), given


def build(config: ConfigDict, dataset: Dataset, devices: Sequence[Any] | None = None) -> Run:
  """Model, task, optimiser, mesh and shapes of a run; allocates nothing.

  Args:
    config: complete config.
    dataset: the training split, for its size and classes.
    devices: of the mesh; all that there are, unless given.

  Raises:
    ConfigError: parts that do not fit each other or the data.
  """
  several = config.train.seeds > 1
  if several and (config.schedule.name == "plateau" or config.train.init_from or config.train.precise_bn):
    raise errors.ConfigError("train.seeds above 1 goes neither with schedule.name='plateau' nor with train.init_from or"
                             " train.precise_bn: train one seed at a time.")
  if several and 0 < config.data.full_share < 1 and examples.of_features(dataset):
    raise errors.ConfigError(f"data.full_share={config.data.full_share:g}: which videos are labelled is drawn for each"
                             " seed, and all of train.seeds see the same batches: train one --config.seed at a time.")
  dtype = compute_dtype(config.train.precision)
  task = tasks.from_config(config.task.to_dict(), dataset)
  sizes = {name: len(target.classes) for name, target in dataset.targets.items()}
  model, num_classes = make_model(config, task, sizes, dtype)
  triplets.check_room(model, dataset, True)
  whole = "features" in getattr(model, "inputs", ())
  if whole != examples.of_features(dataset):
    raise errors.ConfigError(f"system.name '{config.system.name}' takes {'features' if whole else 'clips'}, but the"
                             f" records of data set '{dataset.name}' are {'clips' if whole else 'features'}.")
  clips = not whole and not examples.of_experts(dataset) and not examples.of_texts(dataset)
  if config.train.mixup or config.train.cutmix:
    _check_mixing(config, model, task, clips)
  if task.pairs and config.optimizer.accumulate > 1:
    raise errors.ConfigError(f"optimizer.accumulate={config.optimizer.accumulate}: task.name '{config.task.name}'"
                             " compares all examples of a batch, which cannot be cut into micro-batches; set it to 1.")
  if config.optimizer.name == "ranger" and config.schedule.name == "plateau":
    raise errors.ConfigError("schedule.name='plateau' does not go with optimizer.name='ranger', whose slow weights do"
                             " not know of it: choose another schedule.")
  batch_size = config.train.batch_size
  mesh = sharding.make_mesh(config.mesh, batch_size, devices)
  if batch_size % (config.optimizer.accumulate * sharding.parts(mesh)):
    raise errors.ConfigError(f"batch size {batch_size} does not divide into optimizer.accumulate ="
                             f" {counted(config.optimizer.accumulate, 'micro-batch')} over the mesh.")
  steps_per_epoch = dataset.epoch / batch_size
  total_steps = max(1, round(config.schedule.epochs * steps_per_epoch))
  schedule = schedules.make_schedule(config.schedule, steps_per_epoch, total_steps, batch_size)
  inputs = examples.input_shapes(model, config.data, dtype, num_classes)
  ones = lambda: [jnp.zeros(s.shape, s.dtype) for s in inputs]

  def begin(seed=config.seed):
    state = state_lib.begin(model, ones(), seed)
    return state.replace(params=task.initial(state.params, dataset))

  try:
    first = jax.eval_shape(begin)  # the one time that the model is traced here, which takes seconds
  except _OF_FIELDS as e:
    raise errors.ConfigError(f"system '{config.system.name}' cannot be made with the fields that `system` gives it for"
                             f" the shapes that `data` gives: {' '.join(str(e).split()).rstrip('.')}"
                             f" ({type(e).__name__}; --debug shows where).") from e
  tx = optim.make_optimizer(config.optimizer, schedule, first.params, model)
  complete = lambda state: state_lib.complete(state, tx, bool(config.optimizer.ema))
  create, abstract = lambda: complete(begin()), jax.eval_shape(complete, first)
  shardings = sharding.tree_shardings(abstract, mesh, config.mesh)
  if several:
    seeds = config.seed + np.arange(config.train.seeds)
    create = lambda: jax.vmap(lambda seed: complete(begin(seed)))(seeds)
    abstract = jax.tree.map(lambda x: jax.ShapeDtypeStruct((len(seeds), *x.shape), x.dtype), abstract)
    shardings = sharding.stacked(shardings)
  return Run(config, model, task, mesh, tx, schedule, dtype, num_classes, total_steps, steps_per_epoch,
             examples.unit(dataset), inputs, abstract, shardings,
             state_lib.run_once(create, mesh.devices.flat[0].platform, out_shardings=shardings))


def _check_mixing(config: ConfigDict, model: Any, task: Any, clips: bool) -> None:
  """Raises ConfigError where clips and labels cannot be mixed, or something would stay as it is beside them."""
  further = [key for key in batch_lib.wanted(model, task) if key not in ("video", "progress")]
  others = [name for name in task.targets if name != LABEL]
  reason = ("for features" if not clips else
            f"for task.name '{config.task.name}', which also learns {', '.join(others)}" if others else
            f"for task.name '{config.task.name}', whose targets cannot be mixed" if type(task).target is
            base.Task.target else
            f"for system '{config.system.name}', which also takes {', '.join(further)}" if further else "")
  if reason:
    raise errors.ConfigError(f"train.mixup and train.cutmix mix clips and their labels; set both to 0 {reason}.")


def check_vocabulary(model: Any, config: ConfigDict) -> None:
  """Raises ConfigError where a system has no place for a token of the vocabulary, or other special ones."""
  size = len(tokens.open_tokenizer(config.data).vocabulary)
  have = getattr(model, "vocab", size)
  if size > have:
    raise errors.ConfigError(f"system.vocab is {have}, but {tokens.path_of(config.data)} has {counted(size, 'token')}.")
  for field, token in (("start", "[CLS]"), ("end", "[SEP]")):
    number = tokens.open_tokenizer(config.data).vocabulary[token]
    if getattr(model, field, number) != number:
      raise errors.ConfigError(f"system.{field} is {getattr(model, field)}, but {token} of"
                               f" {tokens.path_of(config.data)} is {number}.")


def reads_texts(run: Run) -> bool:
  """Whether its model or its task takes what a vocabulary numbers."""
  return not {"text", "tags", "phrases"}.isdisjoint(batch_lib.wanted(run.model, run.task))


def with_vocabulary(run: Run, dataset: Dataset) -> Run:
  """A run that reads texts, once `data.text.vocab` is there: its task knows the words, and what is said in training.

  Raises:
    ConfigError: see `check_vocabulary`.
  """
  check_vocabulary(run.model, run.config)
  return dataclasses.replace(run, task=with_words(run.task, run.config, dataset))


def with_words(task: Any, config: ConfigDict, dataset: Dataset | None = None) -> Any:
  """The task with the words of the vocabulary, where it takes them; of a training split with what is said in it."""
  return task.for_texts(tokens.open_tokenizer(config.data), dataset) if task.reads_words else task


def balanced(config: ConfigDict, dataset: Dataset) -> Dataset:
  """The training split, with `data.balanced` as one of which all classes are drawn equally often.

  Raises:
    ConfigError: videos without one label each, or a data set that draws in its own way.
  """
  if not config.data.balanced:
    return dataset
  if LABEL not in dataset.targets or dataset.multilabel or dataset.plan is not None:
    raise errors.ConfigError(f"data.balanced: data set '{dataset.name}' "
                             + ("draws its epochs in its own way." if dataset.plan is not None else
                                "has no single label per video, by which classes could be drawn equally often."))
  labels = np.array(dataset.values())
  known = np.flatnonzero(labels >= 0)
  return dataclasses.replace(dataset, plan=plans.Balanced(known, labels[known], len(dataset)))


def load_splits(config: ConfigDict, main: bool = True) -> tuple[Dataset, Dataset]:
  """The splits of training and validation; what the config leaves to their records is put into it.

  Args:
    config: whole config.
    main: whether this process says what is to be known of them.
  """
  train_set = balanced(config, load_split(config, config.data.train_split))
  val_set = load_split(config, config.data.val_split)
  notices.show(train_set, val_set, main, bool(config.data.flip))
  for part in (train_set, val_set):
    examples.with_feature_size(config.data, part)
  tasks.keep_categories(config.task, train_set)
  return train_set, val_set


def load_split(config: ConfigDict, split: str) -> Dataset:
  data = config.data
  if not data.root:
    raise errors.DataError("no data root: add --config.data.root=FOLDER.")
  if not os.path.exists(data.root):
    raise errors.DataError(f"data root {data.root} does not exist: name the folder where the data lie now by"
                           " --config.data.root=FOLDER.")
  return datasets.load(data.dataset.name, data.root, split, max_missing=data.max_missing,
                       **config_lib.reader_options(data))
