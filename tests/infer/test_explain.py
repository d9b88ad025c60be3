import dataclasses
import functools

from flax import linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.data import videos
from tests.infer.test_predict import write_video
import vidx
from vidx import errors, tasks
from vidx.backbones.resnet import ResNet
from vidx.backbones.slowfast import SlowFast
from vidx.backbones.vit import ViT
from vidx.data import detections
from vidx.infer import explain, load, map_arrays, predict
from vidx.nn import AdaptiveTokenSampler, sites
from vidx.show import maps
from vidx.train import config as config_lib

RESNET = dict(num_classes=5, stages=(1, 1), width=4)
VIT = dict(num_classes=3, image=8, patch=4, dim=6, depth=2, heads=2)
CLIP = (2, 4, 16, 16, 3)


class Mosaic(nn.Module):
  """A site over the clip, then channel k of a fixed quarter of the frames is class k's logit."""

  sites: tuple = ()
  mix: tuple[tuple[float, ...], ...] = ((1.0, 0, 0), (0, 2.0, 0), (0, 0, -1.0))
  inputs = ("video",)

  def site_names(self):
    return ("pixels",)

  @nn.compact
  def __call__(self, video, train=False):
    x, _ = sites.Site("pixels", self.sites, name="at_pixels")(video, None, train)
    h, w = x.shape[2] // 2, x.shape[3] // 2
    features = x[:, :, :h, :w].mean((1, 2, 3))
    return {"logits": features @ jnp.array(self.mix), "features": features}


class Shows(nn.Module):
  """Passes x on and shows all kinds of maps."""

  @nn.compact
  def __call__(self, x, train=False):
    if self.is_mutable_collection("maps"):
      self.sow("maps", "squeezed", x[:, :2] - x[:, 1:2])
      self.sow("maps", "attention", jnp.abs(x).mean(-1))
      self.sow("maps", "scratch", x)
    return x


class Listens(nn.Module):
  """Two classes, that of what is bright and that of a band's last moment; a site of each, sound behind sight."""

  inputs: tuple[str, ...] = ("video", "audio")

  @nn.compact
  def __call__(self, *arrays, train=False):
    given = dict(zip(self.inputs, arrays))
    bright, heard = jnp.zeros(1), given["audio"][:, None]
    if "video" in given:
      x, _ = sites.Site("pixels", (), name="pixels")(given["video"])
      bright = x.mean((1, 2, 3, 4))
    name = "audio.bands" if "video" in given else "bands"
    y, _ = sites.Site(name, (Shows,), name="bands")(heard)
    return {"logits": jnp.stack([jnp.broadcast_to(bright, len(y)), y[:, 0, -1, 0, 0]], -1)}


def run_of(model, variables={}, frames=4, crop=16, classes=3):  # pylint: disable=dangerous-default-value
  config = config_lib.base()
  config.system.name = "mosaic"
  config.data.update(frames=frames, short_side=crop, crop=crop, mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0))
  return load.Loaded(model, variables, config, tuple(f"class {c}" for c in range(classes)),
                     tasks.get("classification"), 1, jnp.float32)


def cam(model, variables, clip, target, site=""):
  """Grad-CAM with the site's visit and its grid looked up."""
  seen, _, _ = explain.survey(model, variables, clip)
  patch = getattr(model, "patch", None)
  visit = explain.default_site([v for v in seen if site in ("", v.site)], clip.shape, patch)
  places = explain.grid(visit.shape, clip.shape, patch)
  run = jax.jit(lambda v, x, t: explain.grad_cam(model, v, x, target=t, visit=visit, places=places))
  return np.asarray(run(variables, clip, jnp.asarray(target))), visit


def at_site(model, variables, clip, site):
  return np.asarray(jax.jit(functools.partial(sites.features, model, site=site))(variables, clip))


@pytest.fixture(scope="module")
def clip():
  return np.random.default_rng(0).normal(size=CLIP).astype("f")


@pytest.fixture(scope="module")
def resnet(clip):
  model = ResNet(**RESNET, consensus=True)
  return model, jax.jit(model.init)(jax.random.PRNGKey(1), clip)


@pytest.fixture(scope="module")
def video(tmp_path_factory):
  return str(write_video(tmp_path_factory.mktemp("videos") / "v.mp4", (40, 200, 90)))


def test_the_weights_are_those_of_a_gradient_through_the_rest_of_the_network(resnet, clip):
  model, variables = resnet
  target = [3, 1]
  found, visit = cam(model, variables, clip, target, "res2")
  features = at_site(model, variables, clip, "res2")

  def rest(features, i, c):
    def after(bound):
      x, mask = features, None
      for name, step in bound.steps():
        if name.startswith("res3"):
          x, mask = step(x, mask, False)
      return bound.scores(x, mask)["logits"]
    return nn.apply(after, model)(variables)[i, c]

  slopes = jax.jit(jax.grad(rest))
  for i, c in enumerate(target):
    gradient = np.asarray(slopes(features, i, c))
    assert not gradient[1 - i].any()
    weights = gradient[i].mean((0, 1, 2))
    by_hand = np.zeros(visit.shape[1:4], np.float32)
    for k, weight in enumerate(weights):
      by_hand += weight * features[i, ..., k]
    np.testing.assert_allclose(found[i], np.maximum(by_hand, 0), rtol=1e-4, atol=1e-6)


def test_where_the_mean_is_scored_linearly_the_map_is_the_class_activation_map(resnet, clip):
  model, variables = resnet
  found, visit = cam(model, variables, clip, [0, 4])
  assert visit.site == "res3"
  features = at_site(model, variables, clip, "res3")
  kernel = np.asarray(variables["params"]["head"]["fc"]["kernel"])
  t, h, w = features.shape[1:4]
  for i, c in enumerate((0, 4)):
    np.testing.assert_allclose(found[i], np.maximum(features[i] @ kernel[:, c], 0) / (t * h * w), rtol=1e-4, atol=1e-7)


def test_a_logit_that_reads_one_corner_gives_a_map_there():
  clip = np.full((1, 4, 16, 16, 3), -1.0, np.float32)
  clip[:, 2, :8, 8:, 1] = 3.0  # bright elsewhere, but in the channel of class 1
  clip[:, :, :8, :8, 0] = 1.0
  found, _ = cam(Mosaic(), {}, jnp.asarray(clip), [0])
  assert found[:, :, :8, :8].min() > 0 and np.count_nonzero(found) == 4 * 64
  found, _ = cam(Mosaic(), {}, jnp.asarray(clip), [1])
  assert found[0, 2, :8, 8:].min() > 0 and np.count_nonzero(found) == 64


def test_a_negative_weight_shows_nothing_where_its_channel_is_bright():
  found, _ = cam(Mosaic(), {}, jnp.ones((1, 2, 4, 4, 3)), [2])
  assert not found.any()


@pytest.mark.parametrize("attention, remat, frames", [("space", True, 0), ("divided", False, 3)])
def test_patches_of_a_transformer_are_a_grid_frame_by_frame(attention, remat, frames):
  model = ViT(**VIT, attention=attention, frames=frames, remat=remat)
  clip = np.random.default_rng(2).normal(size=(2, 3, 8, 8, 3)).astype("f")
  variables = jax.jit(model.init)(jax.random.PRNGKey(3), clip)
  found, visit = cam(model, variables, clip, [0, 1])
  assert visit.site == "block1.in" and found.shape == (2, 3, 2, 2) and found.any()
  tokens = at_site(model, variables, clip, "block1.in")
  patches = tokens[:, :, 1:].reshape(2, 3, 2, 2, 6)
  np.testing.assert_array_equal(explain.on_grid(tokens, (3, 2, 2)), patches)


@pytest.mark.parametrize("attention", ["space", "joint", "divided"])
def test_the_attention_of_a_transformers_cls_is_a_map_of_each_block(attention):
  model = ViT(**VIT, attention=attention, frames=3)
  clip = jax.ShapeDtypeStruct((2, 3, 8, 8, 3), jnp.float32)
  seen, _, sown = explain.survey(model, jax.eval_shape(model.init, jax.random.PRNGKey(3), clip), clip)
  found = explain.named(sown, seen, clip.shape, model.patch)
  assert found == [
      ((f"block{i}", "attn", "first"), "attention", f"block{i}/attn") for i in range(2)]
  assert explain.named(sown, seen, clip.shape, None) == []


def test_the_map_of_a_cls_is_the_mean_of_the_heads_over_the_patches():
  weights = np.random.default_rng(0).random((2, 3, 4, 1 + 6)).astype(np.float32)
  by_hand = np.zeros((2, 3, 2, 3), np.float32)
  for i in range(6):
    by_hand[:, :, i // 3, i % 3] = weights[..., 1 + i].mean(-1)
  np.testing.assert_allclose(map_arrays.of_cls(weights, (3, 2, 3)), by_hand, rtol=1e-6)


def test_what_samplers_kept_is_followed_back_to_the_patches():
  """Two samplers, the second of which is given what the first left: kept tokens in order, one of none, dead places."""
  first = np.array([[[1, 0, 3, 0, 1, 1, 0], [1, 2, 0, 0, 0, 0, 2]]], np.float32)
  rows = np.array([[[0, 2, 4, 5, -1], [0, 1, 6, -1, -1]]], np.int32)
  second = np.array([[[1, 0, 1, 1, 5], [1, 1, 0, 0, 0]]], np.float32)
  one, two = map_arrays.kept_places([(first, rows), (second, rows)], (2, 2, 3))
  np.testing.assert_array_equal(one, first[:, :, 1:].reshape(1, 2, 2, 3))
  np.testing.assert_array_equal(two.reshape(1, 2, 6), [[[0, 0, 0, 1, 1, 0], [1, 0, 0, 0, 0, 0]]])


@pytest.mark.parametrize("attention", ["space", "joint", "divided"])
def test_kept_tokens_are_maps_of_the_blocks_that_sample(video, attention):
  sampler = functools.partial(AdaptiveTokenSampler, 0.5, 1, over_frames="tube" if attention == "divided" else "apart")
  model = ViT(**VIT, attention=attention, frames=2, sites={"block*.heads": sampler})
  clip = jnp.zeros((1, 2, 8, 8, 3))
  loaded = run_of(model, jax.jit(model.init)(jax.random.PRNGKey(3), clip), frames=2, crop=8)
  one, = explain.Explainer(loaded, ["kept"])(predict.predict_loaded(loaded, video))
  assert [(m.kind, m.where, m.values.shape) for m in one.maps] == [
      ("kept", f"block{i}.heads", (2, 2, 2)) for i in range(2)]
  first, second = (m.values for m in one.maps)
  assert 1 <= (second > 0).sum() <= (first > 0).sum() <= 4 and not first[second > 0].min() == 0


def test_kept_frames_are_maps_of_whole_frames():
  class Drops(nn.Module):
    @nn.compact
    def __call__(self, x, train=False):
      self.sow("maps", "kept", jnp.broadcast_to(jnp.array([1.0, 0.0, 2.0]), x.shape[:2]))
      return x

  explainer = explain.Explainer(run_of(Mosaic(sites=(Drops,)), frames=3, crop=4), ["kept"])
  (kept,) = explainer._maps({}, np.zeros((1, 3, 4, 4, 3), np.uint8), np.array([0]))[1]
  np.testing.assert_array_equal(kept, np.array([1.0, 0, 2]).reshape(1, 3, 1, 1))


def test_sampled_tokens_without_a_grid_have_no_map():
  assert explain.grid((), CLIP, 4) is None
  assert explain.grid((1, 4, 10, 6), CLIP, None) is None
  assert explain.grid((1, 4, 10, 6), (1, 4, 12, 12, 3), 4) == (4, 3, 3)
  assert explain.grid((1, 1, 37, 6), (1, 4, 12, 12, 3), 4) == (4, 3, 3)
  assert explain.grid((1, 4, 9, 6), (1, 4, 12, 12, 3), 4) is None
  assert explain.grid((1, 4, 1, 1, 6), (1, 4, 12, 12, 3), None) is None


def test_pathways_have_sites_of_their_own():
  model = SlowFast(num_classes=3, stages=(1, 1), width=8, alpha=2, slow_temporal=(1, 1), fast_temporal=(3, 3),
                   strides=(1, 2), fusion_kernel=3)
  clip = jax.ShapeDtypeStruct((1, 4, 16, 16, 3), jnp.float32)
  seen, outputs, sown = explain.survey(model, jax.eval_shape(model.init, jax.random.PRNGKey(0), clip), clip)
  assert outputs["logits"].shape == (1, 3) and not sown and [v.number for v in seen] == list(range(len(seen)))
  assert {v.site for v in seen} == set(model.site_names())
  assert explain.default_site(seen, clip.shape, None).site == "fast.res3"
  slow = explain.default_site([v for v in seen if v.site == "slow.res3"], clip.shape, None)
  assert explain.grid(slow.shape, clip.shape, None) == (2, 2, 2)


@pytest.mark.parametrize("inputs, site, where", [
    (("video", "audio"), "", "pixels"), (("video", "audio"), "audio.bands", "audio.bands"), (("audio",), "", "bands")])
def test_what_is_seen_lies_on_frames_and_what_is_heard_on_the_spectrogram(tmp_path, inputs, site, where):
  path = str(tmp_path / "v.mp4")
  videos.write(tmp_path / "v.mp4", videos.pictures(8, 32, 32), sound=True)
  loaded = run_of(Listens(inputs), classes=2)
  loaded.config.data.audio.update(rows=6, mels=4, seconds=0.0 if "video" in inputs else 0.5)
  heard = where != "pixels"
  found = [{"path": path, "predictions": [{"label": f"class {int(heard)}"}]}]
  one, = explain.Explainer(loaded, ["gradcam", "attention"], site)(found)
  cam, attention = (next(m for m in one.maps if m.kind == kind) for kind in ("gradcam", "attention"))
  assert (cam.where, attention.where) == (where, "audio.bands" if "video" in inputs else "bands")
  assert attention.values.shape == attention.beneath.shape == (1, 4, 6) and attention.beneath.any()
  np.testing.assert_allclose(attention.values, np.abs(attention.beneath), rtol=1e-5)
  assert (one.frames is None) == ("video" not in inputs)
  assert attention.beneath[0].mean(1).argmax() == 3  # a low tone, and low bands are below
  if heard:
    sound = cam.beneath
    np.testing.assert_allclose(cam.values, np.maximum(sound, 0) / sound.size, atol=1e-6)
  else:
    assert cam.values.shape == (4, 16, 16) and cam.beneath is None
  rows = maps.rows(one)
  assert rows[0][0] == ("input" if "video" in inputs else "spectrogram at audio")
  assert rows[[h for h, _ in rows].index(f"gradcam at {where}")][1].shape == ((1, 4, 6, 3) if heard else (4, 16, 16, 3))
  assert maps.sheet(one).ndim == 3 and maps.moving(one).ndim == 4


def test_frames_of_a_model_that_only_hears_are_refused():
  loaded = run_of(Listens(("audio",)), classes=2)
  with pytest.raises(errors.ConfigError, match="only hears, does not .* produces spectrogram, .*attention, gradcam\\.$"):
    explain.Explainer(loaded, ["input"])


@pytest.mark.parametrize("frames", [1, 4])
def test_maps_of_blocks_come_with_their_site_and_the_frames_as_the_model_sees_them(video, frames):
  model = Mosaic(sites=(Shows,))
  kinds = ["gradcam", "attention", "squeezed", "input"]
  loaded = run_of(model, frames=frames)
  found = predict.predict_loaded(loaded, video)
  one, = explain.Explainer(loaded, kinds)(found)
  assert one.path == video and one.label == found[0]["predictions"][0]["label"] == "class 1"
  assert one.frames.shape == (frames, 16, 16, 3) and one.frames.dtype == np.uint8
  assert [(m.kind, m.where) for m in one.maps] == [(k, "pixels") for k in kinds[:3]]
  heat, attention, squeezed = (m.values for m in one.maps)
  x = one.frames / np.float32(255)
  np.testing.assert_allclose(attention, x.mean(-1), atol=1e-6)
  np.testing.assert_allclose(squeezed, x[:2] - x[1:2] if frames > 1 else np.zeros((0, 16, 16, 3)), atol=1e-6)
  np.testing.assert_allclose(heat, 2 / (frames * 256) * x[..., 1], rtol=1e-4)
  again, = explain.Explainer(loaded, kinds)(found)
  for a, b in zip(one.maps, again.maps):
    np.testing.assert_array_equal(a.values, b.values)


def test_gates_of_channels_are_a_picture_per_stage_and_the_share_of_each_frame_lies_on_the_frames(video):
  model = vidx.create_model("stc", num_classes=3, trunk="resnet3d_18", stages=(1, 1), width=8, stem="small", frames=4,
                            reduction=2)
  variables = jax.jit(model.init)(jax.random.PRNGKey(0), np.zeros((1, 4, 16, 16, 3), "f"))
  loaded = run_of(model, variables)
  one, = explain.Explainer(loaded, ["gates", "frame_share"])(predict.predict_loaded(loaded, video))
  sites_of = ["res2.0.residual", "res3.0.residual"]
  assert [(m.kind, m.where) for m in one.maps] == [(k, s) for k in ("gates", "frame_share") for s in sites_of]
  x = one.frames[None] / np.float32(255)
  _, state = model.apply(variables, x, mutable=["maps"])
  for shown, block, shape in zip(one.maps, ("res2_0", "res3_0"), ((1, 2, 4, 1), (1, 4, 4, 1))):
    gates = np.asarray(jax.tree.leaves(state["maps"]["trunk"][block]["at_residual"])[1])[0]
    assert shown.values.shape == shape
    np.testing.assert_allclose(shown.values.reshape(-1), gates - gates.mean(), atol=1e-5)
  for shares, frames in zip(one.maps[2:], (4, 2)):
    assert shares.values.shape == (frames, 1, 1)
    np.testing.assert_allclose(shares.values.sum(), 1, rtol=1e-5)
  assert [p.shape[0] for _, p in maps.rows(one)] == [4, 1, 1, 4, 4]


def test_a_network_that_takes_numbers_of_videos_and_names_no_class_is_drawn_too(video):
  small = dict(stages=(1, 1), width=8, stem="small")
  model = vidx.create_model("transfer", teacher="resnet_18", teacher_fields=small, student_fields=dict(
      small, trunk="resnet3d_18", reduction=2), frames=4, width=8, hidden=(8,))
  variables = jax.jit(model.init)(jax.random.PRNGKey(0), np.zeros((1, 4, 16, 16, 3), "f"), np.zeros(1, np.int32))
  loaded = dataclasses.replace(run_of(model, variables), task=tasks.get("matching"))
  one, = explain.Explainer(loaded, ["gates"])(predict.predict_loaded(loaded, video))
  assert [m.where for m in one.maps] == ["res2.0.residual", "res3.0.residual"] and one.label == ""


def test_what_a_system_takes_besides_the_clip_comes_with_it(video):
  class Looks(nn.Module):
    inputs = ("video", "detections/mask", "detections/features", "label")

    @nn.compact
    def __call__(self, video, mask, features, label=None, train=False):
      self.sow("maps", "attention", jnp.broadcast_to((features.mean(-1) * mask).sum(-1), video.shape[:-1]))
      return {"logits": video.mean((1, 2, 3))}

  seconds, boxes = np.arange(3.0), np.broadcast_to([0.1, 0.1, 0.9, 0.9], (3, 2, 4))
  detections.write(detections.beside(video), seconds, boxes, np.ones((3, 2)), np.full((3, 2, 4), 0.5))
  loaded = run_of(Looks())
  loaded.config.data.detections.update(frames=1, rate=1.0, boxes=2, size=4)
  one, = explain.Explainer(loaded, ["attention"])([{"path": video}])
  np.testing.assert_array_equal(one.maps[0].values, np.ones((4, 16, 16)))  # two boxes of 0.5 each


def test_videos_that_cannot_be_decoded_are_left_out_and_the_others_keep_their_class(video, tmp_path):
  (tmp_path / "bad.mp4").write_text("no video")
  loaded = run_of(Mosaic(mix=((0, 0, 0), (1.0, 0, 0), (0, 0, 0))))
  found = predict.predict_loaded(loaded, [tmp_path / "bad.mp4", video])
  one, = explain.Explainer(loaded, ["gradcam"])(found)
  assert (one.path, one.label) == (video, "class 0")


def test_nothing_but_what_was_asked_for_is_computed():
  model = Mosaic(sites=(Shows,))
  clip = jnp.ones((1, 2, 4, 4, 3))
  assert set(jax.eval_shape(model.apply, {}, clip)) == {"logits", "features"}
  explainer = explain.Explainer(run_of(model, frames=2, crop=4), ["input"])
  text = str(jax.make_jaxpr(explainer._maps)({}, jnp.zeros((1, 2, 4, 4, 3), jnp.uint8), jnp.array([0])))
  assert "transpose" not in text and explainer._maps({}, np.zeros((1, 2, 4, 4, 3), np.uint8), np.array([0]))[1] == []


@pytest.mark.parametrize("kinds, site, words", [
    (["gradcm"], "",
     ["--show=gradcm", "nearest: 'gradcam'", "band_pass, gates, kept, frame_share, candidates, attention, gradcam"]),
    ([""], "", ["no kind", "input, spectrogram, squeezed"]),
    (["input", "band_pass"], "",
     ["--show=band_pass", "mosaic does not", "produces input, squeezed, attention, gradcam"]),
    (["gradcam"], "pixel", ["--site=pixel", "nearest: 'pixels'"]),
])
def test_kinds_and_sites_that_there_are_not_are_named(kinds, site, words):
  with pytest.raises(errors.ConfigError) as e:
    explain.Explainer(run_of(Mosaic(sites=(Shows,))), kinds, site)
  assert all(w in str(e.value) for w in words) and "\n" not in str(e.value)


@pytest.mark.parametrize("heads", [(), ("verb", "noun")])
def test_a_model_without_logits_or_with_several_heads_or_without_sites_has_no_grad_cam(heads):
  class Plain(nn.Module):
    inputs = ("video",)

    @nn.compact
    def __call__(self, video, train=False):
      x, _ = sites.Site("pixels", (), name="pixels")(video) if heads else (video, None)
      y = x.mean((1, 2, 3))
      return {"features": y, **({"logits": dict.fromkeys(heads, y)} if heads else {})}

  with pytest.raises(errors.ConfigError, match="produces input\\.$"):
    explain.Explainer(run_of(Plain()), ["gradcam"])
