"""setup.cfg says what the package needs and holds."""

import ast
import configparser
import pathlib
import re
import sys

ROOT = pathlib.Path(__file__).parents[2]

# Import names that differ from the name of the package that brings them.
DISTRIBUTIONS = {
    "absl": "absl-py", "apache_beam": "apache-beam", "cv2": "opencv-python-headless", "orbax": "orbax-checkpoint",
    "tensorflow_datasets": "tensorflow-datasets", "etils": "tensorflow-datasets", "sklearn": "scikit-learn",
    "yaml": "pyyaml",
}


def setup():
  parser = configparser.ConfigParser()
  parser.read(ROOT / "setup.cfg")
  return parser


def names(text):
  return {re.split(r"[\[<>=!;\s]", line.strip())[0].lower() for line in text.splitlines() if line.strip()}


def imported(folder):
  found = {}
  for path in (ROOT / folder).rglob("*.py"):
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
      modules = [a.name for a in node.names] if isinstance(node, ast.Import) else (
          [node.module] if isinstance(node, ast.ImportFrom) and not node.level else [])
      for module in modules:
        found.setdefault(module.split(".")[0], path.relative_to(ROOT))
  return found


def missing(folder, declared):
  return {name: str(path) for name, path in imported(folder).items()
          if name not in sys.stdlib_module_names and name != "vidx"
          and DISTRIBUTIONS.get(name, name).lower() not in declared}


def test_everything_that_the_package_imports_is_declared():
  parser = setup()
  declared = names(parser["options"]["install_requires"])
  extras = ("beam", "bench", "export", "parity", "text")
  optional = set().union(*(names(parser["options.extras_require"][e]) for e in extras))
  assert missing("vidx", declared | optional) == {}


def test_everything_that_is_declared_is_used():
  used = {DISTRIBUTIONS.get(name, name).lower() for name in imported("vidx")}
  # tensorflow-datasets imports it without asking for it.
  assert names(setup()["options"]["install_requires"]) - used <= {"importlib_resources"}


def test_every_folder_of_the_package_is_installed():
  folders = {p.parent for p in (ROOT / "vidx").rglob("*.py")}
  assert {str(f.relative_to(ROOT)) for f in folders if not (f / "__init__.py").exists()} == set()


def test_the_templates_are_installed():
  suffixes = {p.suffix for p in (ROOT / "vidx").rglob("*") if p.is_file() and "__pycache__" not in p.parts}
  patterns = {pattern.strip() for line in setup()["options.package_data"].values() for pattern in line.split(",")}
  assert {f"*{s}" for s in suffixes - {".py", ".md"}} <= patterns
