import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vidx.nn import segment_masks as exported
from vidx.nn.segment_masks import (
    integrate_segments, pool_segments, project_lengths, read_template, round_lengths, segment_masks, segment_of_frame,
    shares, spread_segments, starts_of, template, widen)

TRUTH = (100, 300, 200, 400)

masks_of = jax.jit(segment_masks, static_argnames=("frames", "name", "points", "overlap", "public_overlap", "corner"))
lengths_of = jax.jit(project_lengths)
rounded = jax.jit(round_lengths)
integrals = jax.jit(integrate_segments)
segments_of = jax.jit(segment_of_frame, static_argnames="frames")


def masks_by_loops(lengths, frames, values, overlap=0.0):
  points = len(values)
  masks, start = np.zeros((len(lengths), frames)), 0.0
  for m, length in enumerate(lengths):
    for t in range(1, frames + 1):
      u = points * (t - (start - overlap * length)) / (length * (1 + 2 * overlap))
      masks[m, t - 1] = sum(values[j - 1] * max(0, 1 - abs(u - j)) for j in range(1, points + 1))
    start += length
  return masks


@pytest.mark.parametrize("name", ["box", "bell", "trapezoid"])
@pytest.mark.parametrize("points, overlap", [(100, 0.0), (7, 0.1), (4, 0.0)])
def test_closed_forms_equal_the_sum_over_template_points(name, points, overlap):
  lengths = [3.7, 11.2, 0.4, 9.7]
  found = masks_of(np.array(lengths), 25, name=name, points=points, overlap=overlap)
  np.testing.assert_allclose(found, masks_by_loops(lengths, 25, template(name, points), overlap), atol=2e-4)


def test_templates_are_those_of_the_papers():
  assert template("box", 5).tolist() == [1] * 5
  bell = template("bell")
  assert bell[0] == bell[-1] == pytest.approx(np.exp(-0.5 * (49.5 / 20) ** 2), rel=1e-5) and bell.argmax() in (49, 50)
  trapezoid = template("trapezoid")
  assert trapezoid[0] == trapezoid[-1] == 0.5 and (trapezoid[24:76] == 1).all() and trapezoid[12] == pytest.approx(0.75)
  with pytest.raises(ValueError, match="template = 'hat' is not one of box, bell, trapezoid"):
    template("hat")


def test_a_box_of_whole_frames_sums_to_its_length():
  masks = np.asarray(masks_of(np.array(TRUTH), 1010))  # the last ramp falls after the last frame
  np.testing.assert_allclose(masks.sum(-1), TRUTH, rtol=1e-5)
  masks = masks[..., :1000]
  constant = np.repeat(np.array([[1], [-2], [3], [5]], "f"), TRUTH, 0)
  # A ramp may take a share of the first frame of the next segment; nothing else is mixed.
  np.testing.assert_allclose(np.asarray(jax.jit(pool_segments)(constant, masks))[:, 0] / TRUTH, [1, -2, 3, 5], atol=0.1)


def test_aligned_corners_make_a_mask_longer():
  lengths = np.array([550.0, 150, 300])
  assert np.sum(masks_of(lengths, 1000), -1)[1] == pytest.approx(150, abs=1e-3)
  assert np.sum(masks_of(lengths, 1000, corner="align"), -1)[1] == pytest.approx(150 * 100 / 99, abs=1)
  whole = segment_masks(np.array([20.0]), 20, corner="align")  # a compiled division by 19 is less exact
  np.testing.assert_allclose(whole, 1, atol=1e-6)  # the first frame reads the first point, the last the last
  with pytest.raises(ValueError, match="corner = 'left' is not one of frame, align"):
    masks_of(lengths, 10, corner="left")


def test_overlap_is_symmetric_or_that_of_the_public_code():
  for public, before, after in ((False, 0.1, 0.1), (True, 0.06, 0.14)):
    starts, lengths = widen(np.array([100.0]), np.array([50.0]), 0.1, public)
    assert float(starts[0]) == pytest.approx(100 - before * 50)
    assert float((starts + lengths)[0]) == pytest.approx(150 + after * 50)
    masks = np.asarray(masks_of(np.array([100.0, 50, 50]), 200, overlap=0.1, public_overlap=public))
    assert float(masks[1].sum()) == pytest.approx(60, abs=0.1)


def test_lengths_sum_to_the_frames_and_padding_has_none():
  lengths = lengths_of(np.array([[0.3, -1, 2, 5], [0.0, 0, 0, 7]]), np.array([500, 60]),
                       np.array([[1, 1, 1, 1], [1, 1, 1, 0]], bool))
  starts, lengths = np.asarray(jax.jit(starts_of)(lengths)), np.asarray(lengths)
  np.testing.assert_allclose(lengths.sum(-1), [500, 60], rtol=1e-6)
  np.testing.assert_allclose(lengths[1], [20, 20, 20, 0], rtol=1e-6)
  assert (np.diff(starts[0]) > 0).all()


def test_rounded_lengths_keep_the_sum():
  rng = np.random.default_rng(0)
  relative = rng.normal(size=(50, 13)).astype("f") * 2
  frames = rng.integers(5, 10_000, 50)
  lengths = np.asarray(rounded(lengths_of(relative, frames)))
  assert (lengths >= 0).all() and (lengths.sum(-1) == frames).all()
  assert rounded(np.array([1.4, 1.4, 1.2, 0])).tolist() == [1, 2, 1, 0]


def test_frames_are_told_their_segment():
  assert segments_of(np.array([[2, 0, 3, 0], [1, 1, 1, 1]]), 5).tolist() == [[0, 0, 2, 2, 2], [0, 1, 2, 3, 3]]


def test_padding_changes_nothing():
  relative = np.array([0.2, -0.5, 1.0])
  alone = masks_of(lengths_of(relative, 40), 40, points=8)
  live = np.array([1, 1, 1, 0, 0], bool)
  lengths = lengths_of(np.pad(relative, (0, 2), constant_values=9.0), 40, live)
  padded = np.asarray(masks_of(lengths, 64, length=40, mask=live, points=8))
  np.testing.assert_allclose(padded[:3, :40], alone, atol=1e-6)
  assert not padded[3:].any() and not padded[:, 40:].any()
  two = np.stack([lengths] * 2), np.stack([live] * 2)
  batch = np.asarray(masks_of(two[0], 64, length=np.array([40, 30]), mask=two[1], points=8))
  np.testing.assert_allclose(batch[0], padded, atol=1e-6)
  assert not batch[1, :, 30:].any()


def test_spread_regions_have_the_largest_class_of_repeated_ones():
  probabilities = np.random.default_rng(0).dirichlet(np.ones(6), 4).astype("f")
  lengths = np.array([5, 12, 30, 9])
  masks = masks_of(lengths, 56)
  repeated = np.repeat(probabilities, lengths, 0)
  spread = jax.jit(spread_segments, static_argnames="normalise")
  assert (np.argmax(spread(probabilities, masks), -1) == repeated.argmax(-1)).all()
  np.testing.assert_allclose(np.sum(spread(probabilities, masks, normalise=True), -1), 1, rtol=1e-5)


def test_integral_form_equals_sums_and_interpolates_between_frames():
  values = np.random.default_rng(0).normal(size=(40, 3)).astype("f")
  whole = np.array([7.0, 13, 20])
  expected = [values[:7].sum(0), values[7:20].sum(0), values[20:].sum(0)]
  np.testing.assert_allclose(integrals(values, whole), expected, atol=1e-5)
  found = integrals(values, np.array([7.25, 12.75, 20]))
  np.testing.assert_allclose(found[0], values[:7].sum(0) + 0.25 * values[7], atol=1e-5)
  np.testing.assert_allclose(integrals(values, np.array([10.0, 50]), length=20),
                             [values[:10].sum(0), values[10:20].sum(0)], atol=1e-5)


def test_shares_of_frames_are_masks_of_the_integral_form():
  values = np.random.default_rng(0).normal(size=(2, 40, 3)).astype("f")
  lengths, length = np.array([[7.25, 12.5, 20.25], [3.0, 0.4, 26.6]]), np.array([40, 30])
  masks = jax.jit(shares, static_argnames="frames")(lengths, 40, length=length)
  np.testing.assert_allclose(masks.sum(1), np.arange(40) < length[:, None], atol=1e-5)
  np.testing.assert_allclose(pool_segments(values, masks), integrals(values, lengths, length=length), atol=1e-4)


@pytest.mark.parametrize("form", ["mask", "integral"])
def test_gradients_equal_finite_differences(form):
  rng = np.random.default_rng(0)
  values, weight = rng.normal(size=(50, 2)).astype("f"), rng.normal(size=(3, 2)).astype("f")

  @jax.jit
  def loss(relative):
    lengths = project_lengths(relative, 50)
    sums = integrate_segments(values, lengths) if form == "integral" else pool_segments(
        values, segment_masks(lengths, 50, points=4))
    return (sums * weight / lengths[:, None]).sum()

  relative = np.array([0.31, -0.42, 0.17])
  gradient = jax.jit(jax.grad(loss))(relative)
  for i in range(3):
    step = 1e-3 * np.eye(3)[i]
    assert float(gradient[i]) == pytest.approx(float(loss(relative + step) - loss(relative - step)) / 2e-3, abs=2e-2)


def test_gradients_are_finite_where_a_segment_vanishes():
  def loss(relative, name):
    lengths = project_lengths(relative, 30, np.array([1, 1, 1, 0], bool))
    return (segment_masks(lengths, 30, name=name) ** 2).sum()
  slopes = jax.jit(jax.grad(loss), static_argnums=1)
  for name in ("box", "bell"):
    assert np.isfinite(slopes(np.array([0.0, -60.0, -200.0, 0.0]), name)).all()


def test_starts_without_gradient_let_a_length_act_on_its_own_segment():
  def second(lengths, stop):
    starts = starts_of(lengths)
    return segment_masks(lengths, 30, points=4, starts=jax.lax.stop_gradient(starts) if stop else starts)[1].sum()
  slopes = jax.jit(jax.grad(second), static_argnums=1)
  lengths = np.array([9.3, 10.2, 10.5])
  assert slopes(lengths, True)[0] == 0 and slopes(lengths, False)[0] != 0


@functools.partial(jax.jit, static_argnames=("frames", "name", "points", "corner"))
def learned(truth, frames, name, points=100, corner="align"):
  """Lengths that gradient descent finds from perfect frame scores and a transcript."""
  logits = 10 * jax.nn.one_hot(segment_of_frame(truth, frames), 4)

  def loss(relative):
    lengths = project_lengths(relative, frames)
    sums = pool_segments(logits, segment_masks(lengths, frames, name=name, points=points, corner=corner))
    consistency = -jnp.diagonal(jax.nn.log_softmax(sums / lengths[:, None])).sum()
    return consistency + 0.1 * (jax.nn.relu(relative - 2) + jax.nn.relu(-relative - 2)).sum()

  descend = lambda _, relative: relative - 0.05 * jax.grad(loss)(relative)
  return project_lengths(jax.lax.fori_loop(0, 3000, descend, jnp.zeros(4)), frames)


@pytest.mark.parametrize("truth, name, least", [
    (TRUTH, "box", 0.98), ((50, 500, 150, 300), "box", 0.98), ((20, 30, 100, 50), "box", 0.95),
    ((20, 30, 100, 50), "bell", 0.95), ((20, 30, 100, 50), "trapezoid", 0.95)])
def test_lengths_are_learned_from_perfect_scores(truth, name, least):
  frames = sum(truth)
  found = learned(np.array(truth), frames, name)
  right = np.asarray(segments_of(rounded(found), frames)) == segments_of(np.array(truth), frames)
  assert np.mean(right) >= least
  if truth == TRUTH:
    np.testing.assert_allclose(found, (99.1, 301.3, 199.2, 400.4), atol=0.5)


@pytest.mark.parametrize("points", [5, 10])
def test_few_points_learn_lengths_where_ramps_stand_about_the_borders(points):
  frames, truth = sum(TRUTH), np.array(TRUTH)

  def off(corner):
    found = np.asarray(learned(truth, frames, "box", points, corner))
    return np.mean(np.asarray(segments_of(rounded(found), frames)) != segments_of(truth, frames))

  assert off("centre") < 0.011 and off("frame") > 0.029


def test_is_exported():
  assert exported is segment_masks
  assert float(jax.jit(read_template)(0.5)) == 0.5
