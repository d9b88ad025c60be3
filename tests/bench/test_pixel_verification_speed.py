import json

import pytest

from vidx import cli, errors
from vidx.bench import pixel_verification_speed


def test_both_sides_are_measured_and_the_matrix_is_what_the_memory_goes_to():
  row = pixel_verification_speed.bench(side=24, chunk=32, train=True, seconds=0.01)
  assert row["ratio"] == row["times"]["chunked"] / row["times"]["dense"] > 0
  assert row["bytes"]["dense"] > 4 * 24 ** 4 > row["bytes"]["chunked"]
  assert pixel_verification_speed.lines(row)[0].startswith("pixel verification, 1 x 24 x 24, forward + backward")


def test_the_command_prints_json(capsys):
  assert cli.main(["bench", "pvm", "--side=8", "--seconds=0.01", "--json"]) == 0
  assert json.loads(capsys.readouterr().out)["side"] == 8


def test_numbers_below_one_are_refused():
  with pytest.raises(errors.ConfigError, match="side=0"):
    pixel_verification_speed.bench(side=0)
