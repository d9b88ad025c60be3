import math

import pytest

from vidx import errors, tasks
from vidx.train import build, config, dry_run, loop


def test_an_override_takes_the_type_of_its_default():
  c = config.override(config.base(), ["schedule.peak=1", "data.flip=false", "data.jitter=256,320",
                                      "data.train_folds=0,1", "optimizer.frozen=res2", "seed=7"])
  assert c.schedule.peak == 1.0 and isinstance(c.schedule.peak, float)
  assert c.data.flip is False and c.data.jitter == (256, 320)
  assert c.data.train_folds == "0,1" and c.optimizer.frozen == ("res2",) and c.seed == 7


@pytest.mark.parametrize("flag, nearest", [
    ("scedule.peak=1", "schedule"), ("schedule.peek=1", "schedule.peak"), ("data.crp=3", "data.crop")])
def test_a_misspelt_key_names_the_nearest(flag, nearest):
  with pytest.raises(errors.ConfigError, match=nearest.replace(".", r"\.")):
    config.override(config.base(), [flag])


def test_a_value_of_another_type_is_refused():
  with pytest.raises(errors.ConfigError, match="expected int"):
    config.override(config.base(), ["train.batch_size=many"])


def test_a_section_and_a_missing_value_are_refused():
  with pytest.raises(errors.ConfigError, match="is a section"):
    config.override(config.base(), ["data=3"])
  with pytest.raises(errors.ConfigError, match="lacks a value"):
    config.override(config.base(), ["data.crop"])


def test_open_sections_take_new_keys_and_others_do_not():
  c = config.override(config.base(), ["system.width=16", "data.dataset.fold=2"])
  assert c.system.width == 16 and c.data.dataset.fold == 2
  c.system = dict(name="tsn", depth=3)
  assert config.override(c, ["system.dropout=0.5"]).system.dropout == 0.5


def test_an_override_reaches_into_a_mapping_of_fields_that_the_config_does_not_set():
  flags = ["system.name=psn", "system.context_fields.width=16", "system.context_fields.depht=2"]
  c = config.from_json(config.to_json(config.override(config.base(), flags)))
  assert c.system.to_dict() == {"name": "psn", "context_fields": {"width": 16, "depht": 2}}
  assert config.override(c, ["system.context_fields.width=8"]).system.context_fields.width == 8
  with pytest.raises(errors.ConfigError, match="unknown key 'train.more'"):
    config.override(c, ["train.more.width=8"])
  with pytest.raises(errors.ConfigError, match="psn: context_fields: .*'depht'"):
    build.make_model(c, tasks.get("classification"), {"label": 3}, None)
  with pytest.raises(errors.ConfigError, match="no field 'context_field' .nearest: 'context_fields'"):
    wrong = config.override(c, ["system.context_field.width=8"])
    build.make_model(wrong, tasks.get("classification"), {"label": 3}, None)


def test_json_round_trip_keeps_everything():
  c = config.base()
  c.optimizer.groups = (("head", 5.0, 0.0),)
  again = config.from_json(config.to_json(c))
  assert config.differences(c, again) == []
  c.data.crop = 96
  assert config.differences(again, c) == ["data.crop: 112 -> 96"]


def test_a_config_file_with_a_misspelt_key_is_one_clear_line(tmp_path):
  file = tmp_path / "c.py"
  file.write_text("from vidx.train import config\ndef get_config():\n  c = config.base()\n"
                  "  c.data.crpo = 3\n  return c\n")
  with pytest.raises(errors.ConfigError, match="crop") as e:
    config.load_file(str(file))
  assert "\n" not in str(e.value)
  with pytest.raises(errors.ConfigError, match="does not exist"):
    config.load_file(str(tmp_path / "none.py"))


def test_a_config_that_knows_no_such_variant_says_so(tmp_path):
  file = tmp_path / "c.py"
  text = ("from vidx.train import config\n{}def get_config(size='s'):\n  c = config.base()\n"
          "  c.seed = len(size)\n  return c\n")
  file.write_text(text.format("VARIANTS = ('s', 'medium')\n"))
  assert config.load_file(f"{file}:medium").seed == 6
  with pytest.raises(errors.ConfigError, match="knows no 'medum', .* it knows s, medium .nearest: 'medium'"):
    config.load_file(f"{file}:medum")
  file.write_text(text.format(""))
  assert config.load_file(str(file)).seed == 1
  with pytest.raises(errors.ConfigError, match="knows no 's', .* nor any other variant"):
    config.load_file(f"{file}:s")


def test_a_stage_names_earlier_runs_and_the_command_says_where_they_are():
  c = config.base()
  c.train.init_from = (("/teacher/", "{runs}/teacher"), ("/student/", "{runs}/match", "student"), ("x", "elsewhere"))
  with pytest.raises(errors.ConfigError, match="{runs}/teacher of the earlier stages: add --runs=FOLDER"):
    config.with_runs(c, "")
  config.with_runs(c, "out/")
  assert c.train.init_from == (("/teacher/", "out/teacher"), ("/student/", "out/match", "student"), ("x", "elsewhere"))
  config.with_runs(c, "")
  assert config.differences(c, config.from_json(config.to_json(c))) == []


@pytest.mark.parametrize("overrides", [{"data.root": "x"}, "data.root=x", ["--config.data.root=x"]])
def test_overrides_are_a_list_of_texts(overrides):
  with pytest.raises(errors.ConfigError, match="a list of texts such as 'data.root=FOLDER', without --config."):
    config.override(config.base(), overrides)


@pytest.mark.parametrize("key", config.RANGES)
def test_a_number_that_cannot_be_is_refused_before_anything_is_read(key, tmp_path):
  allowed, c = config.RANGES[key], config.base()
  config.check(c)
  for value in {allowed.least, allowed.most} - {math.inf}:
    config.override(c, [f"{key}={int(value)}"])
    if allowed.holds(value):
      config.check(c)
  config.override(c, [f"{key}={int(allowed.least) - 1}"])
  with pytest.raises(errors.ConfigError, match=f"^{key}=.*: write a number from {allowed.least}") as e:
    loop.train(c, str(tmp_path / "run"))
  assert "\n" not in str(e.value) and not (tmp_path / "run").exists()
  with pytest.raises(errors.ConfigError, match=key):
    dry_run.dry_run(c)


@pytest.mark.parametrize("flag, words", [
    ("optimizer.ema=2.0", "optimizer.ema=2: write a number from 0 on, below 1."), ("optimizer.ema=1.0", "below 1"),
    ("schedule.hold=1.5", "schedule.hold=1.5: write a number from 0 to 1."), ("optimizer.accumulate=0", "from 1 on"),
    ("seed=4294967296", "to 4294967295")])
def test_what_numbers_may_be_is_said(flag, words):
  c = config.override(config.base(), [flag])
  with pytest.raises(errors.ConfigError, match=words):
    config.check(c)
