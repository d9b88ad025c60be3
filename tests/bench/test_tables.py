"""The rows of the theses: their page is the written one, and what they name is there and taken."""

import itertools

import pytest

from tests import test_configs
from vidx import errors, places, systems, tasks
from vidx.bench import stand_in, tables
from vidx.train import build, config

ROWS = [row for row in tables.rows() if row.row]
SETTINGS = sorted({(row.config, row.settings) for row in ROWS if row.settings})


def test_the_page_is_what_the_command_writes():
  assert tables.page() == (places.configs() / "README.md").read_text(encoding="utf-8")


def test_every_config_and_word_is_one_that_is_built_to_its_train_step():
  built = {case.removeprefix("configs/") for case in test_configs.CASES}
  named = {name for row in ROWS for name in row.configs}
  proposals = {name for name in named if name.startswith("proposals/")}
  assert named - proposals <= built
  for name in proposals:
    config.load_file(str(places.configs() / name))


def test_rows_without_a_config_say_why_and_the_others_have_figures():
  for row in ROWS:
    assert row.published and (row.config or row.note and not row.settings and not row.ours), row


def test_tables_have_a_title_each_and_stand_in_order():
  titles = [(row.thesis, row.table) for row in tables.rows() if not row.row]
  assert len(titles) == len(set(titles)) == 137
  assert titles == [key for key, _ in itertools.groupby(tables.rows(), lambda row: (row.thesis, row.table))]
  assert list(dict.fromkeys(thesis for thesis, _ in titles)) == list(tables.THESES)
  for thesis, of_one in itertools.groupby(titles, lambda title: title[0]):
    numbers = [tuple(map(int, number.split("."))) for _, number in of_one]
    assert numbers == sorted(numbers), thesis


@pytest.mark.parametrize("name, settings", SETTINGS)
def test_settings_are_taken_and_change_the_config(name, settings, tmp_path):
  plain = config.load_file(str(places.configs() / name))
  flags = settings.split(" ")
  c = config.override(plain.copy_and_resolve_references(), flags)
  keys = {line.partition(":")[0] for line in config.differences(plain, c)}
  assert keys and all(any(flag.startswith(key) for key in keys) for flag in flags), keys
  system = c.system.to_dict()
  known = systems.field_names(system["name"], system.get("trunk"))
  systems.create_model(**({"num_classes": stand_in.classes(c)} if "num_classes" in known else {}) | system)
  tasks.from_config(c.task.to_dict())
  with pytest.raises(errors.DataError):  # options of the reader are known, the folder is empty
    c.data.root = str(tmp_path)
    build.load_split(c, c.data.train_split)
