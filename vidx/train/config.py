"""The configuration of a run: every key with its default, overrides from the command line, loading and saving.

A config file is a Python file with `get_config()`, which starts from `base()`
and sets what differs. All keys are known: a misspelt one is an error that names
the nearest. Three sections are open, because their keys are the fields of what
their `name` chooses, and are checked when that is made: `system`, `task` and
`data.dataset`.
"""

import ast
from collections.abc import Mapping, Sequence
import difflib
import importlib.util
import json
import os
from typing import Any

from ml_collections import ConfigDict

from vidx import errors, places
from vidx.errors import Range

OPEN_SECTIONS = ("system", "task", "data.dataset")


def base() -> ConfigDict:
  """All sections with their defaults."""
  c = ConfigDict(dict(
      seed=0,
      system=dict(name="tsm"),
      task=dict(name="classification"),
      data=dict(
          root="",                    # where the videos and annotations are
          dataset=dict(name="folder"),  # which reader, and its options
          flow="",                    # images of optical flow, in place of frames: flow/{name}/flow_{axis}_{index}.jpg
          flow_stride=1,              # frames of the video per image of flow, where records are parts of videos
          train_split="train", val_split="val",
          train_folds="", val_folds="",  # for sets with folds: "0,1"
          frames=8, consecutive=1, stride=1,
          rate=0.0,                   # frames per second that a sampler sees; 0: those of each video
          sampler="uniform",          # see vidx/data/sampling.py
          short_side=128, crop=112,   # pixels
          only_enlarge=False,         # frames whose short side is longer stay as they are
          test_crop=0,                # of evaluation, pixels; 0: that of training
          whole=(),                   # (height, width): evaluation sees whole frames of this size, not crops;
                                      # training too where crop_mode="whole"
          sizes=(),                   # ((height, width), ...): whole frames in their shape, scaled to short_side and
                                      # no longer than long_side, in the corner of the smallest of these that holds them
          long_side=0,                # pixels, with sizes; 0: no limit
          jitter=(),                  # (min, max) short side in training
          crop_mode="multiscale", scales=(1.0, 0.875, 0.75, 0.66),
          flip=True,                  # off for classes that know left from right
          colour_jitter=0.0,
          mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225),
          workers=2,                  # decoding processes; 0: threads in this process
          threads=1,                  # decoder threads per video
          prefetch=2,                 # batches kept ready per worker
          feature_size=0,             # of long videos: features per frame; 0: as in the files
          bucket_multiple=32, bucket_growth=1.5,  # sequences are padded to one of few lengths
          balanced=False,             # whether training draws all classes equally often, of one label per video
          clip_labels=False,          # training labels are of the actions in the time of a clip, where a set knows it
          full_share=1.0,             # share of the training videos whose frame labels may be used
          detections=dict(frames=12, rate=2.0, boxes=5, size=2048),  # candidates: frames around a clip's middle, how
                                      # many a second, the best boxes of each, features of a box
          boxes=dict(frames="all",    # whose boxes: all | middle, the key frame of a clip
                     most=0,          # places for the boxes of a frame; 0: the most that the split has
                     rois=0,          # proposed boxes of a frame, the best ones; 0: none
                     least=0.0,       # score of a proposed box
                     train_rois="file"),  # file | truth, the true boxes in the place of proposals
          audio=dict(rows=128, mels=80, mean=-7.03, std=4.66,  # spectrograms: size, and how they are normalised
                     seconds=0.0,     # of a clip's sound; 0: those that its frames show
                     gap=0.5,         # seconds, least displacement of the sound of another time of the video
                     masks=2, mask_rows=0, mask_mels=0),  # SpecAugment: runs, and most rows and bands of one
          cache="",                   # folder where training keeps what frozen networks make of each clip, the one that
                                      # evaluation sees, and decodes no more; {runs} as in train.init_from
          experts=(),                 # (name, features of a token, most tokens) of each expert
          expert_tokens="first",      # of more tokens than that: first | random | even
          text=dict(vocab="vocab.txt", tokenizer="wordpiece", lower=True, length=37, captions="one",  # a file of one
                                      # token a line; wordpiece | words; tokens of a text; one | joined
                    least=1, most=20_000,  # of a vocabulary that vocab="" takes from the training captions: how often
                                      # a word occurs, and tokens
                    tags="",          # parts of speech: rules, or a file of words with theirs; "": none
                    references=0),    # captions of a video with which drawn sentences are compared
          phrases=dict(nodes=24, take="tree", captions="one",  # of an image: most of them; tree | leaves, its nouns;
                       codes=""),     # one | all captions; folder that keeps their codes, {runs} as in train.init_from
          max_missing=0.1,            # share of annotated files that may be absent
          max_failures=0.05,          # share of videos that may fail to decode
          timeout_s=600.0,            # without a single example, after which reading is given up
      ),
      optimizer=dict(
          name="sgd",                 # sgd | adamw | lamb | ranger
          momentum=0.9, nesterov=False,
          b1=0.9, b2=0.999, eps=1e-8,
          weight_decay=1e-4,
          no_decay=r"(bias|scale)$",  # parameters without weight decay
          groups=(),                  # (pattern, lr multiplier, decay multiplier), first match
          frozen=(),                  # patterns of parameters that are not trained
          clip_norm=0.0,              # 0: no clipping
          clip_groups=(),             # (pattern, norm): groups that are clipped apart, first match
          accumulate=1,               # micro-batches per step
          ema=0.0,                    # decay of the averaged parameters; 0: none
      ),
      schedule=dict(
          name="cosine",              # cosine | step | linear | constant | plateau
          peak=0.01,
          reference_batch=0,          # n: peak is for a batch of n and scales linearly
          epochs=10.0, warmup_epochs=0.0, warmup_from=0.0,
          end=0.0,                    # cosine and linear: last value as a share of the peak
          hold=0.0,                   # linear: share of the steps after warm-up before it falls
          milestones=(),              # step: epochs at which the rate falls
          factor=0.1,                 # step and plateau: by how much
          patience=3,                 # plateau: evaluations without gain before it falls
          monitor="",                 # plateau: the figure that is to gain; "": the task's headline; "loss" is to fall
      ),
      train=dict(
          batch_size=16,              # clips per step, over all devices
          seeds=1,                    # n: so many runs at once, of the seeds from `seed` on, on the same batches
          max_steps=0,                # stop after so many steps; 0: the schedule's epochs
          precision="auto",           # auto | float32 | bfloat16
          mixup=0.0, cutmix=0.0,      # alpha of the Beta distribution; 0: off
          precise_bn=0,               # batches whose statistics normalise in evaluation; 0: the running ones
          remat="",                   # pattern of sites, such as "*.out": all else is computed anew for gradients
          log_every=10,               # steps between console lines
          init_from=(),               # workdir, or ((parameter pattern, workdir[, part of its model]), ...)
          init_exclude=(),            # patterns that keep their fresh values
      ),
      eval=dict(
          every_epochs=1.0,           # 0: only at the end
          batch_size=16, clips=1, crops=1,
      ),
      mesh=dict(
          data=-1, fsdp=1, tensor=1,  # -1: all remaining devices
          rules=(),                   # (parameter pattern, axis name per dimension)
          fsdp_min_size=65536,        # smaller parameters are replicated
      ),
      checkpoint=dict(every_epochs=1.0, every_steps=0, keep_last=2, keep_best=1),
  ))
  c.lock()
  _open(c)
  return c


def _open(config: ConfigDict) -> None:
  """Lets the open sections take new keys."""
  for section in OPEN_SECTIONS:
    node = config
    for key in section.split("."):
      node = node[key]
    node.unlock()


def load_file(path: str) -> ConfigDict:
  """Runs `get_config` of a config file; `file.py:word` passes `word`, one of the file's `VARIANTS`, to it.

  `folder/tsm`, `folder/tsm.py` and `configs/folder/tsm.py` mean a config that comes along, wherever there is no such
  file.

  Raises:
    ConfigError: no such file, an error in it, or a variant that it does not know.
  """
  named, _, argument = path.partition(":")
  file = _found(named)
  spec = importlib.util.spec_from_file_location("vidx_config", file)
  if spec is None or spec.loader is None:
    raise errors.ConfigError(f"config file {file} is not a Python file.")
  module = importlib.util.module_from_spec(spec)
  try:
    spec.loader.exec_module(module)
    variants = getattr(module, "VARIANTS", ())
    if argument and argument not in variants:
      known = f"; it knows {', '.join(variants)}" if variants else ", nor any other variant"
      raise errors.ConfigError(f"config file {file} knows no '{argument}', which the word behind the colon asks for"
                               f"{known}{errors.hint(argument, variants)}.")
    config = module.get_config(argument) if argument else module.get_config()
  except errors.UserError:
    raise
  except (AttributeError, KeyError, TypeError) as e:
    # ConfigDict's own message already names the nearest key.
    raise errors.ConfigError(f"config file {file}: {_one_line(e)}") from e
  except Exception as e:
    raise errors.ConfigError(f"config file {file}: {type(e).__name__}: {_one_line(e)}") from e
  return config


def of_table(path: str) -> str:
  """`configs/FILE.py[:WORD]` of a config that comes along, in any form that `load_file` takes; others as they are."""
  named, colon, argument = path.partition(":")
  name = _bare(named)
  return f"configs/{name}.py{colon}{argument}" if (places.configs() / f"{name}.py").is_file() else path


def _bare(named: str) -> str:
  return named.removesuffix(".py").removeprefix("./").removeprefix("configs/")


def _found(named: str) -> str:
  """The path of a config file that is there, or comes along; a ConfigError lists names near to a missing one."""
  ours = places.configs()
  name = _bare(named)
  for file in (named, f"{named}.py", str(ours / f"{name}.py")):
    if os.path.isfile(file):
      return file
  known = {p.relative_to(ours).with_suffix("").as_posix() for p in ours.glob("*/*.py")}
  ends = name.rpartition("/")[2]
  near = difflib.get_close_matches(name, known, n=5, cutoff=0.6)
  near += [k for k in sorted(known) if k.rpartition("/")[2] == ends and k not in near][:5]
  raise errors.ConfigError(
      f"config file {named} does not exist; " + (f"near it are {', '.join(near)}" if near else
                                                 f"those that come along are in {ours}, such as folder/tsm") + ".")


def _one_line(e: BaseException) -> str:
  text = e.args[0] if e.args else str(e)
  return " ".join(str(text).split())


def override(config: ConfigDict, flags: Sequence[str]) -> ConfigDict:
  """Applies `a.b=value` texts (the part after `--config.`) to a config, in order.

  Values are Python literals; what is none is text. A tuple may be written as
  `1,2`. A value must be of the type that it replaces (an int may replace a
  float). In an open section `a.b.c=value` also sets a key of a mapping `b` that
  the config does not have.

  Raises:
    ConfigError: unknown key (the nearest is named) or a value of another type.
  """
  if isinstance(flags, (str, Mapping)) or any(flag.startswith("-") for flag in flags):
    raise errors.ConfigError("overrides of a config are a list of texts such as 'data.root=FOLDER', without --config.")
  for flag in flags:
    key, equals, text = flag.partition("=")
    if not equals:
      raise errors.ConfigError(f"--config.{flag} lacks a value: write --config.{key}=VALUE.")
    *parents, last = key.split(".")
    node: Any = config
    for depth, name in enumerate(parents):
      if isinstance(node, ConfigDict) and name not in node and _is_open(parents[:depth]):
        node[name] = ConfigDict()  # a mapping of which the config sets nothing
      if not isinstance(node, ConfigDict) or name not in node:
        raise errors.ConfigError(_unknown(key, node, parents[:depth], name))
      node = node[name]
    section = ".".join(parents)
    if not isinstance(node, ConfigDict):
      raise errors.ConfigError(f"--config.{key}: '{section}' has no keys of its own.")
    if last not in node and not _is_open(parents):
      raise errors.ConfigError(_unknown(key, node, parents, last))
    value = parse(text)
    old = node.get(last)
    if isinstance(old, ConfigDict):
      raise errors.ConfigError(f"--config.{key} is a section; set one of its keys: {', '.join(old)}.")
    node[last] = _cast(key, value, text, old) if last in node else value
  return config


def _is_open(parents: Sequence[str]) -> bool:
  """Whether a section takes new keys: an open one, and what lies in it."""
  return any(".".join(parents[:depth + 1]) in OPEN_SECTIONS for depth in range(len(parents)))


def _unknown(key: str, node: Any, parents: Sequence[str], name: str) -> str:
  keys = list(node) if isinstance(node, ConfigDict) else []
  near = errors.nearest(name, keys)
  nearest = f" (nearest: '{'.'.join([*parents, near])}')" if near else f" (known here: {', '.join(keys)})"
  return f"--config.{key}: unknown key '{'.'.join([*parents, name])}'{nearest}."


def parse(text: str) -> Any:
  """A Python literal, or the text itself; `true` and `false` in any case."""
  try:
    return ast.literal_eval(text)
  except (ValueError, SyntaxError):
    return {"true": True, "false": False}.get(text.lower(), text)


def _cast(key: str, value: Any, text: str, old: Any) -> Any:
  """`value` as the type of `old`."""
  if old is None or type(value) is type(old):
    return value
  if isinstance(old, str):
    return text
  if isinstance(old, bool) and value in (0, 1):
    return bool(value)
  if isinstance(old, float) and isinstance(value, int):
    return float(value)
  if isinstance(old, (tuple, list)):
    return tuple(value) if isinstance(value, (tuple, list)) else (value,)
  raise errors.ConfigError(
      f"--config.{key}={text}: expected {type(old).__name__}, as in its default {old!r}.")


# Of keys that are numbers by themselves, known before anything is read or built; what depends on more than one of them
# is checked where it is used.
RANGES = {
    "seed": Range(0, 2**32 - 1),
    "optimizer.momentum": Range(0, 1), "optimizer.b1": Range(0, 1, below=True), "optimizer.b2": Range(0, 1, below=True),
    "optimizer.eps": Range(0), "optimizer.weight_decay": Range(0), "optimizer.clip_norm": Range(0),
    "optimizer.accumulate": Range(1), "optimizer.ema": Range(0, 1, below=True),
    "schedule.peak": Range(0), "schedule.reference_batch": Range(0), "schedule.epochs": Range(0),
    "schedule.warmup_epochs": Range(0), "schedule.warmup_from": Range(0), "schedule.end": Range(0),
    "schedule.hold": Range(0, 1), "schedule.factor": Range(0), "schedule.patience": Range(0),
    "train.batch_size": Range(1), "train.seeds": Range(1), "train.max_steps": Range(0), "train.mixup": Range(0),
    "train.cutmix": Range(0), "train.precise_bn": Range(0), "train.log_every": Range(0),
    "eval.every_epochs": Range(0), "eval.batch_size": Range(1), "eval.clips": Range(0), "eval.crops": Range(1),
    "mesh.data": Range(-1), "mesh.fsdp": Range(-1), "mesh.tensor": Range(-1), "mesh.fsdp_min_size": Range(0),
    "checkpoint.every_epochs": Range(0), "checkpoint.every_steps": Range(0), "checkpoint.keep_last": Range(0),
    "checkpoint.keep_best": Range(0),
}


def check(config: ConfigDict) -> None:
  """Raises ConfigError for a key whose value is outside of its `RANGES`."""
  errors.check_ranges(config, RANGES)


def to_json(config: ConfigDict) -> str:
  """The config as JSON text; tuples become lists."""
  return json.dumps(config.to_dict(), indent=2, default=str, sort_keys=True)


def from_json(text: str) -> ConfigDict:
  """The inverse of `to_json`, with lists as tuples and keys that came later at their defaults."""

  def tuples(x):
    if isinstance(x, dict):
      return {k: tuples(v) for k, v in x.items()}
    return tuple(tuples(v) for v in x) if isinstance(x, list) else x

  config = base()
  with config.unlocked():
    config.update(tuples(json.loads(text)))
  _open(config)
  return config


def listed(config: ConfigDict, prefix: str = "") -> str:
  """Every key with its value, a line each, as flags."""
  lines = []
  for key, value in config.items():
    inside = isinstance(value, ConfigDict)
    lines.append(listed(value, f"{prefix}{key}.") if inside else f"--config.{prefix}{key}={value!r}")
  return "\n".join(line for line in lines if line)


def differences(a: ConfigDict, b: ConfigDict, prefix: str = "") -> list[str]:
  """Dotted keys whose values differ, as 'key: old -> new'."""
  found = []
  for key in sorted(set(a) | set(b)):
    x, y = a.get(key), b.get(key)
    if isinstance(x, ConfigDict) and isinstance(y, ConfigDict):
      found += differences(x, y, f"{prefix}{key}.")
    elif x != y:
      found.append(f"{prefix}{key}: {x!r} -> {y!r}")
  return found


RUNS = "{runs}"  # in train.init_from, data.cache, data.phrases.codes: the folder of the earlier stages of a recipe


def with_runs(config: ConfigDict, runs: str) -> None:
  """Puts the folder of the earlier stages into `train.init_from`, `data.cache` and `data.phrases.codes`.

  Raises:
    ConfigError: stages are named and the folder is not.
  """
  def filled(entry):
    if isinstance(entry, (tuple, list)):
      return tuple(map(filled, entry))
    if RUNS in entry and not runs:
      raise errors.ConfigError(f"the config names {entry} of the earlier stages: add --runs=FOLDER, where its run is.")
    return entry.replace(RUNS, runs.rstrip("/") or "/")

  config.train.init_from = filled(config.train.init_from)
  config.data.cache = filled(config.data.cache)
  config.data.phrases.codes = filled(config.data.phrases.codes)


def reader_options(data: ConfigDict) -> dict[str, Any]:
  """The options of `data.dataset`, with the folds where they are set."""
  options = {k: v for k, v in data.dataset.items() if k != "name"}
  for key in ("train_folds", "val_folds"):
    if data[key] not in ("", ()):
      options[key] = data[key]
  return options
