import json

import jax
import numpy as np
import pytest

from vidx import errors, systems
from vidx.bench import adaptive_speed

TINY = {
    "ats_deit_s": (dict(image=32, patch=4, dim=16, depth=6, heads=2, num_classes=3), (32, 32, 3)),
    "atfr_resnet3d_slim_18": (dict(stages=(1, 1), strides=(1, 2), num_classes=3), (8, 16, 16, 3)),
}


@pytest.mark.parametrize("name", TINY)
def test_the_published_share_is_left_and_both_sides_are_timed(name):
  fields, shape = TINY[name]
  row = adaptive_speed.bench(name, batch=4, batches=2, seconds=0, fields=fields, shape=shape)
  left = adaptive_speed.CASES[name].left
  assert 1 - row["counted_saving"] == pytest.approx(left, abs=0.06)  # counts are whole numbers
  assert row["clips"] == 8 and row["dense_seconds"] > 0 and row["adaptive_seconds"] > 0
  saved = 1 - row["adaptive_seconds"] / row["dense_seconds"]
  assert row["realised_share"] == pytest.approx(saved / row["counted_saving"])
  json.dumps(row)
  assert row["padding"] >= 0
  assert "realised" in adaptive_speed._text(row)


@pytest.mark.parametrize("name", TINY)
def test_one_program_with_branches_gives_what_regrouping_gives(name):
  fields, shape = TINY[name]
  model = systems.create_model(name, **fields)
  videos = list(np.random.default_rng(0).normal(size=(2, 3, *shape)).astype(np.float32))
  variables = jax.jit(model.init)(jax.random.PRNGKey(0), videos[0])
  case = adaptive_speed.CASES[name]
  runner = adaptive_speed.Controlled(model, variables, lambda r: adaptive_speed.with_share(case, r, 6))
  wanted, _ = runner.run(videos)
  found = [out["logits"] for out in adaptive_speed.Branching(runner).run(videos)]
  np.testing.assert_allclose(np.concatenate(found), wanted["logits"], atol=1e-4)


def test_frames_chosen_by_a_parallel_sampling_network_are_measured_against_all_candidates():
  small = dict(stages=(1,), widths=(8, 8, 16))
  row = adaptive_speed.bench("psn_r50", batch=2, batches=1, seconds=0, shape=(6, 16, 16, 3), fields=dict(
      num_classes=3, keep=2, stages=(1, 1), width=8, stem="small", sampler_fields=small, context="none"))
  assert row["counts"] == {"frames": [[2, 2]]} and row["clips"] == 2
  assert 0.4 < row["counted_saving"] < 1 - 2 / 6  # the sampler has its price


def test_an_unknown_case_is_said_with_its_nearest():
  with pytest.raises(errors.ConfigError, match="ats_deit_s"):
    adaptive_speed.bench("ats_deit_z")
