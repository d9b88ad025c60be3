"""The notebook runs from its first cell to its last."""

import os
import pathlib

import nbformat
import pytest

ROOT = pathlib.Path(__file__).parents[2]
NOTEBOOK = ROOT / "notebooks" / "quickstart.ipynb"


def test_it_is_kept_without_outputs():
  for cell in nbformat.read(NOTEBOOK, as_version=4).cells:
    assert not cell.get("outputs") and not cell.get("execution_count")


def test_it_runs_on_tiny_settings(tmp_path, monkeypatch):
  nbclient = pytest.importorskip("nbclient")
  monkeypatch.setenv("VIDX_NOTEBOOK_TINY", "1")
  monkeypatch.setenv("JAX_PLATFORMS", "cpu")
  monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]))
  notebook = nbformat.read(NOTEBOOK, as_version=4)
  nbclient.NotebookClient(notebook, timeout=120, kernel_name="python3",
                          resources={"metadata": {"path": str(tmp_path)}}).execute()
  text = "".join(str(output) for cell in notebook.cells for output in cell.get("outputs", ()))
  assert "top-1" in text and text.count("<video") > 0
  assert (tmp_path / "runs" / "tsm" / "DONE.json").exists()
