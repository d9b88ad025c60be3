import json
import pathlib

import pytest

from vidx import errors
from vidx.measure import models
import vidx

PAGE = pathlib.Path(models.__file__).parents[1] / "backbones/README.md"


def test_the_documented_table_lists_every_model():
  documented = [line.split("|")[1].strip() for line in PAGE.read_text().splitlines() if line.startswith("| ")][1:]
  assert [n for n in documented if n != "---"] == vidx.list_models()


@pytest.mark.parametrize("pattern", ["deit_ti", "mobilenet_v2", "r3d_18", "tcn", "x3d_xs"])
def test_the_documented_rows_are_those_that_the_command_prints(pattern):
  assert models.table(pattern, "markdown").splitlines()[-1] in PAGE.read_text().splitlines()


def test_json_has_the_numbers_themselves():
  row, = json.loads(models.table("r3d_18", "json"))
  assert row == {"name": "r3d_18", "source": "Tran et al. 2018", "input": ["16x112x112x3"], "parameters": 33_371_472,
                 "GMACs": pytest.approx(40.70, rel=2e-3), "weights": "torchvision"}


def test_a_pattern_that_matches_nothing_names_the_nearest():
  with pytest.raises(errors.ConfigError, match="nearest: 'r3d_18'"):
    models.table("r3d18")
