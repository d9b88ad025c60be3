import numpy as np
import pytest

from tests.backbones import promises
import vidx
from vidx import errors, interop
from vidx.interop import rules

V1 = dict(stages=((), ((4, (4, 6), (2, 4), ("max", 2)),), ()), widths=(4, 4, 6), num_classes=3)
AUXILIARY = {"inception_v1": ("aux1", "aux2"), "inception_v3": ("AuxLogits",)}


def model(**fields):
  return vidx.create_model("deit_ti", **{**dict(image=32, patch=16, dim=12, depth=2, heads=3, num_classes=5), **fields})


def state_of(model):
  return interop.to_torch(model, promises.some_variables(model, np.zeros((1, 32, 32, 3), "f")), "timm")


def test_templates_translate_both_ways_with_offsets_and_words():
  (weight, bias) = rules.conv("layer{i}.{j}.{part:conv1|conv2}", "res{i+1}_{j}/{part}")
  assert weight.to_path("layer3.10.conv2.weight") == "params/res4_10/conv2/kernel"
  assert weight.to_key("params/res4_10/conv2/kernel") == "layer3.10.conv2.weight"
  assert bias.to_key("params/res2_0/conv1/bias") == "layer1.0.conv1.bias"
  assert weight.to_path("layer3.0.conv3.weight") is None and weight.to_path("xlayer3.0.conv1.weight") is None
  (there, _) = rules.conv("stem.{i}", "block{i-4}")
  assert there.to_path("stem.5.weight") == "params/block1/kernel"
  assert there.to_key("params/block1/kernel") == "stem.5.weight"


def test_kernels_change_their_axes():
  to, back = rules.KINDS["conv"]
  w = np.arange(2 * 3 * 4 * 5).reshape(2, 3, 4, 5)
  assert to(w).shape == (4, 5, 3, 2) and to(w)[1, 2, 0, 1] == w[1, 0, 1, 2]
  np.testing.assert_array_equal(back(to(w)), w)


def test_batch_norm_has_its_statistics_and_a_count_that_is_dropped_and_refilled():
  found = {r.key: (r.path, r.kind) for r in rules.batch_norm("bn", "norm")}
  assert found["bn.running_var"] == ("batch_stats/norm/var", "raw")
  assert found["bn.num_batches_tracked"] == ("batch_stats/norm/mean", "drop")
  assert rules.batch_norm("bn", "norm")[-1].fill.dtype == np.int64


def test_there_and_back_gives_the_same_bits():
  state = state_of(model())
  variables, report = interop.from_torch(model(), state, "timm")
  back = interop.to_torch(model(), variables, "timm")
  assert set(back) == set(state) == set(report.mapped) and not report.dropped
  assert all(np.array_equal(back[k], state[k]) for k in state)
  assert "28 tensors mapped" not in str(report) and f"{len(state)} tensors mapped" in str(report)


@pytest.mark.parametrize("change, message", [
    (lambda s: s.update(extra=np.zeros(2)), "extra has no rule"),
    (lambda s: s.pop("norm.bias"), "nothing fills params/norm/bias"),
    (lambda s: s.update({"norm.bias": np.zeros(3)}), r"norm.bias has shape \(3,\), params/norm/bias wants \(12,\)"),
    (lambda s: s.update({"blocks.2.norm1.bias": np.zeros(12)}), "block2/norm1/bias, which the model has not"),
])
def test_every_tensor_has_a_place_and_every_place_a_tensor(change, message):
  state = state_of(model())
  change(state)
  with pytest.raises(errors.CheckpointError, match=message):
    interop.from_torch(model(), state, "timm")


def test_a_new_head_is_made_only_when_asked():
  state, other = state_of(model()), model(num_classes=9)
  with pytest.raises(errors.CheckpointError, match="new_head=True puts a new one there"):
    interop.from_torch(other, state, "timm")
  variables, report = interop.from_torch(other, state, "timm", new_head=True)
  assert variables["params"]["head"]["fc"]["kernel"].shape == (12, 9)
  assert 0 < np.abs(variables["params"]["head"]["fc"]["kernel"]).max() < 0.1
  assert set(report.fresh) == {"params/head/fc/kernel", "params/head/fc/bias"}
  assert "the model's is (12, 9)" in report.dropped["head.weight"]


def test_positions_are_resized_only_when_asked_and_constant_ones_stay():
  state, other = state_of(model()), model(image=48)
  state["pos_embed"] = np.ones_like(state["pos_embed"])
  with pytest.raises(errors.CheckpointError, match="pos_embed"):
    interop.from_torch(other, state, "timm")
  variables, report = interop.from_torch(other, state, "timm", resize=True)
  np.testing.assert_allclose(variables["params"]["embed"]["positions"], np.ones((1, 10, 12)), rtol=1e-5)
  assert report.changed == {"pos_embed": "resized from 5 to 10 positions"}


@pytest.mark.parametrize("table", [(1, 6, 12), (1, 0, 12), (2, 4, 12)])
def test_a_table_that_is_no_square_grid_and_a_tensor_without_its_axes_are_named(table):
  state = state_of(model())
  state["pos_embed"] = np.ones(table)
  with pytest.raises(errors.CheckpointError, match=r"pos_embed has shape .*params/embed/positions wants \(1, 10, 12\)"):
    interop.from_torch(model(image=48), state, "timm", resize=True)
  other = vidx.create_model("inception_v1", **V1)
  state = interop.to_torch(other, promises.some_variables(other, np.zeros((1, 33, 32, 3), "f")), "torchvision")
  state["conv1.conv.weight"] = np.float32(3)
  with pytest.raises(errors.CheckpointError, match="conv1.conv.weight has shape"):
    interop.from_torch(other, state, "torchvision")


@pytest.mark.parametrize("name, fields, clip", [
    ("inception_v1", V1, (1, 33, 32, 3)),
    ("inception_v3", dict(num_classes=3, form="torchvision", width_multiplier=1 / 32), (1, 75, 75, 3))])
def test_auxiliary_classifiers_of_published_files_are_dropped(name, fields, clip):
  other = vidx.create_model(name, **fields)
  state = interop.to_torch(other, promises.some_variables(other, np.zeros(clip, "f")), "torchvision")
  more = {f"{head}.{part}": np.zeros(3, "f") for head in AUXILIARY[name] for part in (
      "conv.conv.weight", "conv.bn.running_var", "conv.bn.num_batches_tracked", "fc1.weight", "fc2.bias", "fc.bias")}
  _, report = interop.from_torch(other, {**state, **more}, "torchvision")
  assert {key for key, why in report.dropped.items() if why == "auxiliary classifier"} == set(more)
  assert not report.fresh and set(report.mapped) | set(report.dropped) == set(state) | set(more)


def test_inflated_kernels_answer_a_still_clip_as_the_image():
  kernel = np.random.default_rng(0).normal(size=(3, 3, 2, 4))
  for how in ("mean", "centre"):
    out = rules.inflated(kernel, 5, how)
    assert out.shape == (5, 3, 3, 2, 4)
    np.testing.assert_allclose(out.sum(0), kernel)
  with pytest.raises(ValueError, match="'copy' is not one of mean, centre"):
    rules.inflated(kernel, 3, "copy")


def test_an_unknown_source_is_named_with_the_known_ones():
  with pytest.raises(errors.ConfigError, match="no rules for weights of ViT from 'tim'.*'timm'"):
    interop.from_torch(model(), {}, "tim")


def test_what_a_stage_without_convolutions_does_to_a_pixel_is_what_their_centres_did():
  fields = dict(dims=(4, 4, 8), depths=(1, 1, 1), heads=(1, 1, 2), num_classes=3)
  whole = vidx.create_model("cvt_13", **fields)
  state = interop.to_torch(whole, promises.some_variables(whole, np.zeros((1, 32, 32, 3), "f")), "cvt")
  variables, report = interop.from_torch(vidx.create_model("ats_cvt_13", **fields), state, "cvt")
  assert not report.fresh and "conv_k" in variables["params"]["block1_0"]["attn"]
  own = variables["params"]["block2_0"]["attn"]
  assert set(own) == {"proj_q", "proj_k", "proj_v", "proj"}
  pixel = np.random.default_rng(0).normal(size=8)
  key = lambda name: state[f"stage2.blocks.0.attn.{name}"]
  for x in "qkv":
    bn = {part: key(f"conv_proj_{x}.bn.{part}") for part in ("weight", "bias", "running_mean", "running_var")}
    y = pixel * key(f"conv_proj_{x}.conv.weight")[:, 0, 1, 1]
    y = (y - bn["running_mean"]) / np.sqrt(bn["running_var"] + 1e-5) * bn["weight"] + bn["bias"]
    y = key(f"proj_{x}.weight") @ y + key(f"proj_{x}.bias")
    np.testing.assert_allclose(pixel @ own[f"proj_{x}"]["kernel"] + own[f"proj_{x}"]["bias"], y, rtol=1e-4, atol=1e-5)
