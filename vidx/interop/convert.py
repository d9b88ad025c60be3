"""Weights from file to file: a torch checkpoint to a folder that everything here reads, and back.

    from vidx.interop import convert
    convert.from_file("torchvision", "resnet50.pth", "converted", model="resnet_50")
    loaded = vidx.load_checkpoint("converted")
    loaded.model.apply(loaded.variables, video)["logits"]

The folder is a workdir without a training, so `vidx eval`, `vidx predict` and
`train.init_from` take it as well; `conversion.json` in it says where the weights are from.
"""

from collections.abc import Mapping, Sequence
import contextlib
import os
import shutil
import tempfile
from typing import Any

from vidx import errors, interop, reading, systems, writing
from vidx.interop import files
from vidx.terminal import counted

RECORD = "conversion.json"
FEWEST_DIGITS = 8  # of a SHA-256 that is given in part, as in the names of torch's files

_IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
_CLIPS = ((0.43216, 0.394666, 0.37645), (0.22803, 0.22145, 0.216989))
_GREY = ((0.45,) * 3, (0.225,) * 3)
_HALF = ((0.5,) * 3, (0.5,) * 3)
#: (start of the model's name, source) -> (mean, std) of the pixels that the weights were trained on; first match.
NORMALISATION: Sequence[tuple[tuple[str, ...], str, tuple]] = (
    (("r3d", "mc3", "r2plus1d", "s3d"), "torchvision", _CLIPS),
    *((("inception_",), source, _HALF) for source in ("torchvision", "timm", "cadene", "pytorch_fid")),
    (("vit",), "timm", _HALF),
    *((("",), source, _HALF) for source in ("xvit", "pytorch_i3d")),
    *((("",), source, _GREY) for source in ("pytorchvideo", "pyslowfast", "timesformer")),
    *((("",), source, _IMAGENET) for source in ("torchvision", "timm", "deit", "cvt", "psvit")),
    (("resnet", "mobilenet", "tsm", "tsn"), "tsm", _IMAGENET),
)


def from_file(source: str, checkpoint: str | os.PathLike, out: str | os.PathLike, *, model: str,
              fields: Mapping[str, Any] | None = None, inputs: Sequence[Sequence[int]] = (), new_head: bool = False,
              inflate: str = "", resize: bool = False, sha256: str = "", overwrite: bool = False) -> interop.Report:
  """Converts the weights in a file and writes them as a folder.

  Args:
    source: whose names the file has: 'torchvision', 'timm', 'pytorchvideo', ...; see `interop.RULES`.
    checkpoint: file of safetensors, torch or PySlowFast.
    out: the folder to write; it is there whole or not at all.
    model: name of the model that gets them.
    fields: of the model, where they are not the published ones.
    inputs: shapes of the model's inputs, where its parameters depend on them.
    new_head: a classifier of another shape is initialised anew.
    inflate: how 2-D kernels become 3-D: 'mean', 'centre' or '' (they do not).
    resize: tables of positions are interpolated.
    sha256: what the file's has to be, or its first digits.
    overwrite: an earlier conversion in `out` is replaced.

  Returns:
    What became of every tensor.

  Raises:
    ConfigError: an unknown model, field or source.
    CheckpointError: a file that is damaged, of another hash or does not fit; an `out` that exists or cannot be made.
  """
  checkpoint, out = os.fspath(checkpoint), os.path.normpath(os.fspath(out))
  errors.check_choice("inflate", inflate, ("", "mean", "centre"))
  made = systems.create_model(model, **(fields or {}))
  interop.rules_of(made, source)
  check_free(out, overwrite)
  state = files.read_state(checkpoint)
  digest = reading.sha256(checkpoint)
  if sha256 and (len(sha256) < FEWEST_DIGITS or not digest.startswith(sha256.lower())):
    raise errors.CheckpointError(
        f"{checkpoint} has the SHA-256 {digest}, not {sha256}"
        f"{f' (give at least {FEWEST_DIGITS} digits)' if len(sha256) < FEWEST_DIGITS else ''}: load it anew.")
  variables, report = interop.from_torch(
      made, state, source, inputs=inputs, new_head=new_head, inflate=inflate, resize=resize)
  kept = {**(fields or {}), "num_classes": made.num_classes}
  record = dict(model=model, fields=kept, source=source, file=os.path.abspath(checkpoint), sha256=digest,
                mapped=report.mapped, changed=report.changed, dropped=report.dropped, new=list(report.fresh))
  from vidx.infer import save  # brings what reads and writes runs
  with _folder(out) as folder:
    save.save_model(folder, model, kept, variables, data_of(made, model, source, inputs))
    writing.write_json(os.path.join(folder, RECORD), record)
  return report


def to_file(source: str, workdir: str | os.PathLike, out: str | os.PathLike, *, step: int | str | None = None,
            overwrite: bool = False) -> int:
  """Writes the weights of a run or of a converted folder under the names of a torch original.

  Args:
    source: whose names; see `interop.RULES`.
    workdir: folder of the run.
    out: file that ends in `.safetensors`, or with torch `.pth`.
    step: which checkpoint, as in `vidx.load_checkpoint`.
    overwrite: an existing file is replaced.

  Returns:
    How many tensors were written.

  Raises:
    ConfigError: the source has no names for the model.
    CheckpointError: no run there, variables without a name there, or an `out` that exists or cannot be written.
  """
  from vidx.infer import load
  if os.path.lexists(out) and not (overwrite and os.path.isfile(out)):
    raise errors.CheckpointError(f"{out} exists: name another file{'' if overwrite else ', or add --overwrite'}.")
  loaded = load.load_checkpoint(os.fspath(workdir), step)
  state = interop.to_torch(loaded.model, loaded.variables, source)
  files.write_state(out, state)
  return len(state)


def data_of(made: Any, model: str, source: str, inputs: Sequence[Sequence[int]] = ()) -> dict[str, Any]:
  """Keys of a config's section `data` that suit a model and its weights.

  Args:
    made: the model.
    model: its name.
    source: of the weights.
    inputs: shapes of the inputs, where they are not the published ones.

  Returns:
    The size of the clips, and mean and std where they are known.
  """
  shape = systems.inputs_of(made, model, inputs)[0]
  data: dict[str, Any] = {}
  if len(shape) in (4, 5):
    data["crop"] = shape[-2]
    data["short_side"] = round(data["crop"] * 8 / 7)
  if len(shape) == 5:
    data["frames"] = shape[1]
  known = normalisation(model, source)
  return {**data, **(dict(mean=known[0], std=known[1]) if known else {})}


def normalisation(model: str, source: str) -> tuple[tuple[float, ...], tuple[float, ...]] | None:
  """(mean, std) of the pixels that a source's weights were trained on; None where that is not known here."""
  return next((pair for names, of, pair in NORMALISATION if of == source and model.startswith(names)), None)


def main(source: str, checkpoint: str, out: str, *, to: str, model: str, fields: Mapping[str, Any],
         **options: Any) -> None:
  """`vidx convert`: either direction, and what was done."""
  if to:
    options = dict(overwrite=options["overwrite"])
    print(f"{out}: {counted(to_file(source, checkpoint, out, **options), 'tensor')} in the names of {source}")
    return
  show(from_file(source, checkpoint, out, model=model, fields=fields, **options), model, source, out)


def show(report: interop.Report, model: str, source: str, out: str) -> None:
  """Prints what a conversion did."""
  print(report)
  if not normalisation(model, source) and len(systems.rows()[model].inputs[0]) > 2:  # texts have no pixels
    print(f"mean and std of the pixels are not known for {source}: set data.mean and data.std in {out}/config.json")
  print(f"{out}: {model} for vidx.load_checkpoint, vidx eval, vidx predict and train.init_from")


def check_free(out: str, overwrite: bool) -> None:
  """Only an earlier conversion may be replaced, and only when that is wanted."""
  if not os.path.lexists(out):
    return
  if not overwrite:
    raise errors.CheckpointError(f"{out} exists: name another folder, or add --overwrite.")
  if not os.path.isfile(os.path.join(out, RECORD)):
    raise errors.CheckpointError(
        f"{out} is no conversion (it has no {RECORD}) and is not replaced: name another folder.")


@contextlib.contextmanager
def _folder(out: str):
  """A new folder next to `out` that takes its name once it is complete, and vanishes if it does not get so far."""
  parent = os.path.dirname(os.path.abspath(out))
  try:
    os.makedirs(parent, exist_ok=True)
    temporary = tempfile.mkdtemp(prefix=f".{os.path.basename(out)}-", dir=parent)
  except OSError as e:
    raise errors.CheckpointError(f"{out} cannot be written: {(e.strerror or str(e)).lower()}.") from e
  try:
    inside = os.path.join(temporary, "new")
    os.mkdir(inside)
    yield inside
    before = os.path.join(temporary, "before")
    if os.path.lexists(out):
      os.rename(out, before)
    try:
      os.rename(inside, out)
    except OSError:
      os.rename(before, out)
      raise
  except OSError as e:
    raise errors.CheckpointError(f"{out} cannot be written: {(e.strerror or str(e)).lower()}.") from e
  finally:
    shutil.rmtree(temporary, ignore_errors=True)
