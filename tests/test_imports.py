import ast
import os
import pathlib
import subprocess
import sys

import pytest

from vidx.command import process

ROOT = pathlib.Path(__file__).resolve().parents[1]

# What each room may import of vidx, besides itself and `errors`.
ROOMS = ("nn", "backbones", "systems", "tasks", "train", "infer", "data", "metrics", "measure", "bench", "show",
         "interop", "command")
MAY_IMPORT = {
    "nn": set(),
    "backbones": {"nn"},
    "systems": {"nn", "backbones"},
    "metrics": set(),
    "tasks": {"nn", "backbones", "systems", "metrics"},
    "data": {"nn", "metrics"},
    "train": {"nn", "backbones", "systems", "tasks", "metrics", "data", "measure", "interop"},
    "infer": set(ROOMS) - {"infer", "bench", "show", "command"},
    "measure": {"nn", "backbones", "systems"},
    "bench": set(ROOMS) - {"bench", "show", "command"},
    "show": {"nn", "systems", "tasks", "metrics", "data", "infer"},
    "interop": {"nn", "backbones", "systems", "data", "metrics", "infer"},
    "command": {"data", "train", "bench", "infer", "show"},
}
NO_ERRORS_EITHER = ("nn", "backbones")


def imported(path):
  """Dotted names of vidx that a file imports anywhere."""
  for node in ast.walk(ast.parse(path.read_text())):
    if isinstance(node, ast.Import):
      yield from (a.name for a in node.names)
    elif isinstance(node, ast.ImportFrom) and node.module:
      yield node.module
      yield from (f"{node.module}.{a.name}" for a in node.names)


@pytest.mark.parametrize("room", MAY_IMPORT)
def test_imports_go_one_way(room):
  for path in sorted((ROOT / "vidx" / room).rglob("*.py")):
    for name in imported(path):
      parts = name.split(".")
      if parts[0] != "vidx" or len(parts) < 2:
        continue
      if parts[1] in ROOMS:
        assert parts[1] in MAY_IMPORT[room] | {room}, f"{path.relative_to(ROOT)} imports {name}"
      elif room in NO_ERRORS_EITHER:
        raise AssertionError(f"{path.relative_to(ROOT)} imports {name}; {room} knows nothing of vidx but nn")


def edges():
  """{module: modules of vidx that it imports, inside of functions too}."""
  files = {}
  for path in (ROOT / "vidx").rglob("*.py"):
    name = ".".join(("vidx", *path.relative_to(ROOT / "vidx").with_suffix("").parts))
    files[name.removesuffix(".__init__")] = path

  def module(name):
    while name and name not in files:
      name = name.rpartition(".")[0]
    return name

  found = {}
  for name, path in files.items():
    targets = {module(other) for other in imported(path)} - {name, ""}
    found[name] = {t for t in targets if not (path.name == "__init__.py" and t.startswith(f"{name}."))}
  return found


def test_no_module_imports_another_in_a_circle():
  left = edges()
  while free := [name for name, targets in left.items() if not targets & left.keys()]:  # imports nothing that is left
    for name in free:
      del left[name]
  while tops := [name for name in left if not any(name in targets for targets in left.values())]:  # nothing imports it
    for name in tops:
      del left[name]
  assert not left, f"these import one another: {', '.join(sorted(left))}"


def loaded_by(code):
  """Top-level modules in memory after running `code` in a new process."""
  code += "\nimport sys\nprint(*sorted({m.split('.')[0] for m in sys.modules}))"
  done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True)
  return set(done.stdout.split())


@pytest.mark.parametrize("code", ["import vidx", "import vidx.nn",
                                  "import vidx; vidx.create_model('tsm', num_classes=3); vidx.list_models()"])
def test_importing_vidx_pulls_in_no_decoder_and_no_other_framework(code):
  assert not loaded_by(code) & {"torch", "tensorflow", "cv2", "av", "decord", "grain"}


def test_logging_steps_does_not_import_torch_which_takes_seconds():
  code = "import tempfile; from vidx.train import writers; writers.Writers(tempfile.mkdtemp(), True).close()"
  assert "torch" not in loaded_by(code)


def test_importing_vidx_alone_does_not_import_jax():
  assert "jax" not in loaded_by("import vidx")


def test_the_public_face_is_seven_names():
  import vidx
  assert set(vidx.__all__) == {"__version__", "create_model", "evaluate", "list_models", "load_checkpoint", "pixels_of",
                               "predict", "train"} == set(dir(vidx))
  assert all(callable(getattr(vidx, name)) for name in vidx.__all__ if name != "__version__")
  assert vidx.train.__call__.__func__ and vidx.__version__.count(".") == 2
  nearest = r"no attribute 'creat_model' \(nearest: 'create_model'\); it has create_model, evaluate, .*train$"
  with pytest.raises(AttributeError, match=nearest):
    vidx.creat_model
  with pytest.raises(ImportError, match="creat_model"):
    from vidx import creat_model  # pylint: disable=unused-import
  assert not hasattr(vidx, "zzzz")


def test_speed_is_measured_with_nothing_but_jax_flax_numpy_einops_and_absl():
  others = ["ml_collections", "grain", "tensorflow_datasets", "array_record", "chex", "cv2", "av", "jinja2",
            "matplotlib"]
  code = f"import sys; sys.modules.update(dict.fromkeys({others}))\n"
  code += "import vidx.cli\n"
  code += ("for f in ['bench model --help', 'bench conv --help', 'bench adaptive --help']:"
           " assert vidx.cli.main(f.split()) == 0\n")
  code += ("import vidx.bench.model_speed, vidx.bench.conv_speed, vidx.bench.adaptive_speed;"
           " vidx.create_model('x3d_s')")
  loaded_by(code)


@pytest.mark.skipif(sys.platform != "linux", reason="glibc is Linux's")
@pytest.mark.parametrize("own, seen", [(None, ["None", process.MALLOC]), ("a=1", ["a=1"])])
def test_the_command_tunes_malloc_unless_the_user_does(own, seen):
  code = "import os; from vidx import cli; print(os.environ.get('GLIBC_TUNABLES'), flush=True); cli.run()"
  env = {k: v for k, v in os.environ.items() if k != "GLIBC_TUNABLES"} | ({"GLIBC_TUNABLES": own} if own else {})
  done = subprocess.run([sys.executable, "-c", code, "--help"], env=env, capture_output=True, text=True, check=True)
  lines = done.stdout.splitlines()
  assert lines[:len(seen)] == seen and lines[len(seen)].startswith("vidx:")
