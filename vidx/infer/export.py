"""A run as one StableHLO program that needs neither this library nor Flax: clips of bytes in, predictions out.

    import jax
    run = jax.export.deserialize(bytearray(open("model.stablehlo", "rb").read()))
    run.call(clips)["scores"]                             # clips: uint8 (any number, T, H, W, 3)
"""

import functools
import importlib.util
import os
from typing import Any

import jax
import jax.export
import jax.numpy as jnp
import numpy as np

from vidx import errors, writing
from vidx.data import batch as batch_lib, clips as clips_lib, examples
from vidx.infer import load
from vidx.nn import augment, tracing

PROGRAM, FACTS, SCRIPT = "model.stablehlo", "export.json", "example.py"
PLATFORMS = ("cpu", "cuda", "tpu")
CALLED = ("video", "flow", "audio", "audio_valid")  # inputs that every view has, of a size that the config says

_SCRIPT = '''"""Names what a video shows: python {script} VIDEO. Needs jax, flatbuffers, av and opencv."""
import json, os, sys
import av, cv2, jax, numpy as np
here = os.path.dirname(os.path.abspath(__file__))
facts = json.load(open(os.path.join(here, "{facts}")))
run = jax.export.deserialize(bytearray(open(os.path.join(here, "{program}"), "rb").read()))
def shown(frame):  # turned and mirrored as its display matrix says
  image, matrix = frame.to_ndarray(format="rgb24"), frame.side_data.get("DISPLAYMATRIX")
  a, b, _, c, d = np.frombuffer(bytes(matrix), np.int32)[:5].tolist() if matrix is not None else (1, 0, 0, 0, 1)
  if abs(b) + abs(c) > abs(a) + abs(d):
    image, a, d = image.swapaxes(0, 1), c, b
  return np.ascontiguousarray(image[::-1 if d < 0 else 1, ::-1 if a < 0 else 1])
frames = [shown(f) for f in av.open(sys.argv[1]).decode(video=0)]
n, (t, size) = len(frames), facts["inputs"]["video"]["shape"][1:3]
frames = [frames[(2 * i + 1) * n // (2 * t) if n > t else 0] for i in range(t)]
(h, w), s = frames[0].shape[:2], {short_side} / min(frames[0].shape[:2])
to = (round(w * s), round(h * s))
how = cv2.INTER_AREA if s <= 1 else cv2.INTER_LINEAR
frames = [f if to == (w, h) else cv2.resize(f, to, interpolation=how) for f in frames]
x, y = (to[0] - size) // 2, (to[1] - size) // 2
scores = np.asarray(run.call(np.stack(frames)[None, :, y:y + size, x:x + size])["scores"][0])
print(json.dumps({{facts["classes"][i]: float(scores[i]) for i in np.argsort(-scores)[:5]}}))
'''


def export(workdir: str, out: str, step: int | str | None = None, overrides: Any = ()) -> dict[str, Any]:
  """Writes a run's predictions of one view as a program, for any number of clips, on CPUs, GPUs and TPUs.

  What comes in is uint8 (B, T, H, W, 3), a view as `data` cuts it; it is normalised inside.
  Parameters are constants of the program. All is computed in float32.

  Args:
    workdir: of the run.
    out: the folder to write: `model.stablehlo`, `export.json` (inputs, outputs, classes, how frames are chosen), and
      where frames are chosen evenly `example.py`, which uses both without this library.
    step: which checkpoint, as in `load_checkpoint`.
    overrides: `section.key=value` texts over the run's config.

  Returns:
    What `export.json` holds.

  Raises:
    ConfigError: a system that sees more than clips, or whose program depends on the number of clips.
    CheckpointError: no run, or a folder that cannot be written.
  """
  if not out:
    raise errors.ConfigError("no folder: write vidx export --workdir=FOLDER OUT.")
  writing.check_place(out, folder=True)
  if importlib.util.find_spec("flatbuffers") is None:
    raise errors.ConfigError("an export is written by flatbuffers, which is not installed: pip install flatbuffers.")
  loaded = load.load_checkpoint(workdir, step, ["train.precision=float32", *overrides])
  config, model = loaded.config, loaded.model
  names = tuple(n for n in getattr(model, "inputs", ("video",)) if not batch_lib.is_target(n) and n != "progress")
  if not set(names) <= set(CALLED):
    raise errors.ConfigError(f"system '{config.system.name}' takes {', '.join(names)}: only what sees clips, or hears"
                             " them, can be exported.")
  known = dict(zip(getattr(model, "inputs", ("video",)), examples.input_shapes(model, config.data, jnp.float32, 1)))
  clip = "flow" if config.data.flow else "video"
  batch, = jax.export.symbolic_shape("batch")
  shapes = {n: ((1, *clips_lib.eval_clip_shape(config.data)), np.uint8) if n == "video" else
            (known[n].shape, np.float32) for n in names}
  args = [jax.ShapeDtypeStruct((batch, *shape[1:]), dtype) for shape, dtype in shapes.values()]
  program = functools.partial(_predictions, loaded, clip, names)
  try:
    with tracing.traced_for(""):  # one program for all platforms
      exported = jax.export.export(jax.jit(program), platforms=PLATFORMS)(*args)
  # What tracing raises where the number of clips has to be known, an operation has no program for it or for a platform,
  # or a task predicts from what no clip brings.
  except (jax.errors.InconclusiveDimensionOperation, TypeError, ValueError, NotImplementedError, KeyError) as e:
    raise errors.ConfigError(f"system '{config.system.name}' cannot be exported for any number of clips"
                             f" ({' '.join(str(e).split())[:160]}).") from e
  facts = {
      "system": config.system.name, "step": loaded.step, "platforms": list(exported.platforms),
      "inputs": {clip if n == "video" else n: {"shape": ["batch", *shape[1:]], "dtype": np.dtype(dtype).name}
                 for n, (shape, dtype) in shapes.items()},
      "outputs": {jax.tree_util.keystr(path, simple=True, separator="/"): {
          "shape": [d if isinstance(d, int) else str(d) for d in x.shape], "dtype": np.dtype(x.dtype).name}
          for path, x in _outputs(exported)},
      "classes": list(loaded.classes), "targets": {k: list(v) for k, v in loaded.targets.items()},
      "data": {k: config.data[k] for k in ("frames", "consecutive", "stride", "rate", "sampler", "short_side", "crop",
                                           "test_crop", "whole", "only_enlarge")},
      "jax": jax.__version__,
  }
  try:
    os.makedirs(out, exist_ok=True)
    writing.write_bytes(os.path.join(out, PROGRAM), bytes(exported.serialize()))
    writing.write_json(os.path.join(out, FACTS), facts)
    script = os.path.join(out, SCRIPT)
    if _even(config.data) and names == ("video",) and "scores" in facts["outputs"]:
      writing.write_text(script, _SCRIPT.format(script=SCRIPT, facts=FACTS, program=PROGRAM,
                                                short_side=config.data.short_side))
    elif os.path.exists(script):
      os.unlink(script)
  except OSError as e:
    raise errors.CheckpointError(f"{out} cannot be written: {(e.strerror or str(e)).lower()}.") from e
  return facts


def _predictions(loaded: load.Loaded, clip: str, names: tuple[str, ...], *arrays: jax.Array) -> dict[str, jax.Array]:
  """What the task predicts of clips of bytes."""
  batch = {clip if n == "video" else n: x for n, x in zip(names, arrays)}
  batch |= {"weight": jnp.ones(arrays[0].shape[0])}
  if "progress" in getattr(loaded.model, "inputs", ()):
    batch["progress"] = jnp.ones(arrays[0].shape[0])
  each = augment.on_device(batch, loaded.config.data.mean, loaded.config.data.std, jnp.float32)
  outputs = loaded.model.apply(loaded.variables, *batch_lib.inputs(loaded.model, each), train=False)
  return dict(loaded.task.predict(outputs, each))


def _outputs(exported: jax.export.Exported) -> list[tuple[Any, Any]]:
  tree = jax.tree.unflatten(exported.out_tree, exported.out_avals)
  return jax.tree_util.tree_leaves_with_path(tree)


def _even(data: Any) -> bool:
  """Whether frames are chosen and cut as the script does it."""
  return (data.sampler == "uniform" and data.consecutive == 1 and not data.rate and not data.whole
          and not data.only_enlarge and not data.flow)


def main(workdir: str, args: Any, step: int | str | None, overrides: Any = ()) -> None:
  """`vidx export`: writes the folder and says what is in it."""
  if len(args) != 1:
    raise errors.ConfigError("vidx export takes one folder to write: vidx export --workdir=FOLDER OUT.")
  facts = export(workdir, args[0], step, overrides)
  size = os.path.getsize(os.path.join(args[0], PROGRAM)) / 2**20
  said = lambda row: f"{row['dtype']} ({', '.join(map(str, row['shape']))})"
  print(f"{args[0]}/{PROGRAM}: {facts['system']}, step {facts['step']}, {size:.1f} MiB, for"
        f" {', '.join(facts['platforms'])}")
  for what in ("inputs", "outputs"):
    print(f"{what}: " + "; ".join(f"{name} {said(row)}" for name, row in facts[what].items()))
  if os.path.exists(os.path.join(args[0], SCRIPT)):
    print(f"python {args[0]}/{SCRIPT} VIDEO uses it without this library")
