import jax
from jax import export
import jax.numpy as jnp
import numpy as np
import pytest

from tests.nn.test_box_sums import by_loops as sum_by_loops
from vidx.metrics.boxes import iou
from vidx.nn.edge_boxes import EdgeMap, edge_box_scores, edge_map, search, windows
from vidx.nn.edge_groups import Groups, describe_groups, label_edges


def rectangles(height, width, *boxes):
  """Magnitude and orientation of the outlines of boxes."""
  size, angle = np.zeros((height, width), "f"), np.zeros((height, width), "f")
  for x0, y0, x1, y1 in boxes:
    size[[y0, y1 - 1], x0:x1] = 1
    size[y0:y1, [x0, x1 - 1]] = 1
    angle[y0 + 1:y1 - 1, [x0, x1 - 1]] = np.pi / 2
  return size, angle


def made(*boxes, height=80, width=100):
  size, angle = rectangles(height, width, *boxes)
  return edge_map(describe_groups(label_edges(size, angle), size, angle), size), size


def by_loops(groups, magnitude, box, mode):
  """The score of a box, with paths of any length."""
  x0, y0, x1, y1 = box
  inside, cut = [], []
  for g in np.flatnonzero(groups.strength > 0):
    (x, y), (left, top, right, bottom) = groups.place[g], groups.extent[g]
    if x0 <= x < x1 and y0 <= y < y1:
      inside.append(g)
    if left < x1 and right > x0 and top < y1 and bottom > y0 and (left < x0 or top < y0 or right > x1 or bottom > y1):
      cut.append(g)
  weight = {g: 1.0 for g in cut}
  if mode == "paths":
    changed = True
    while changed:
      changed = False
      for g in inside:
        for h, a in zip(groups.neighbour[g], groups.affinity[g]):
          through = weight.get(h, 0.0) * a
          if through >= 0.05 and through > weight.get(g, 0.0) + 1e-9:
            weight[g], changed = through, True
  held = sum((1 - weight.get(g, 0.0)) * groups.strength[g] for g in inside)
  w, h = x1 - x0, y1 - y0
  middle = (x0 + w / 4, y0 + h / 4, x1 - w / 4, y1 - h / 4)
  score = (held - sum_by_loops(np.where(magnitude > 0.1, magnitude, 0)[..., None], middle)[0]) / ((w + h) / 2) ** 1.5
  return score if score >= 0.01 else 0.0


@pytest.mark.parametrize("mode", ["containment", "paths"])
def test_scores_of_given_boxes_are_those_of_the_loop(mode):
  rng = np.random.default_rng(0)
  magnitude = np.where(rng.uniform(size=(60, 70)) > 0.85, rng.uniform(size=(60, 70)), 0).astype("f")
  angle = rng.uniform(0, np.pi, (60, 70)).astype("f")
  groups = describe_groups(label_edges(magnitude, angle), magnitude, angle, neighbours=24)
  corner = rng.uniform(-4, 45, (60, 2))
  boxes = np.concatenate([corner, corner + rng.uniform(4, 40, (60, 2))], 1).astype("f")
  found = edge_box_scores(edge_map(groups, magnitude), boxes, mode, hops=12)
  wanted = [by_loops(groups, magnitude, box, mode) for box in boxes.tolist()]
  np.testing.assert_allclose(found, wanted, atol=2e-4)
  assert np.count_nonzero(wanted) > 20


@pytest.mark.parametrize("mode", ["containment", "paths"])
def test_a_box_around_a_contour_beats_all_that_cut_it(mode):
  edges, _ = made((30, 20, 60, 55))
  around = np.array([[28, 18, 62, 57]], "f")
  cutting = np.array([[10, 18, 50, 57], [35, 25, 80, 70], [28, 18, 62, 40], [40, 30, 50, 40], [45, 0, 99, 79]], "f")
  best = float(edge_box_scores(edges, around, mode)[0])
  assert best > 0.3 and (np.asarray(edge_box_scores(edges, cutting, mode)) < 0.6 * best).all()


def test_every_box_is_scored_on_any_map_and_an_empty_one_gives_nothing():
  edges, size = made((30, 20, 60, 55))
  nothing = edge_map(describe_groups(np.full(size.shape, -1, np.int32), 0 * size, 0 * size), 0 * size)
  boxes = windows(80, 100, area=400.0)
  assert not np.asarray(edge_box_scores(nothing, boxes)).any()
  assert np.asarray(edge_box_scores(edges, boxes)).any()
  other, _ = made((5, 5, 25, 25))
  assert float(edge_box_scores(other, np.array([[28, 18, 62, 57]], "f"))[0]) == 0


def test_the_search_finds_contours_and_its_boxes_do_not_repeat():
  truth = np.array([[30, 20, 60, 55], [66, 40, 95, 72]])
  edges, _ = made(*truth.tolist())
  found = jax.jit(lambda e: search(e, windows(80, 100, area=300.0), 80, 100, 20))(edges)
  boxes, scores = map(np.asarray, found)
  assert (iou(truth, boxes[:6]).max(1) > 0.6).all() and (np.diff(scores) <= 0).all()
  np.testing.assert_allclose(scores, edge_box_scores(edges, boxes), atol=1e-5)
  assert (boxes >= 0).all() and (boxes[:, 2] <= 100).all() and (boxes[:, 3] <= 80).all()


def test_windows_cover_the_frame():
  found = windows(120, 160, area=600.0)
  assert (found[:, :2] >= 0).all() and (found[:, 2] <= 160).all() and (found[:, 3] <= 120).all()
  sides = found[:, 2:] - found[:, :2]
  ratio = sides[:, 0] / sides[:, 1]
  assert (np.maximum(ratio, 1 / ratio) <= 3).all() and sides.prod(1).min() >= 599
  rng = np.random.default_rng(0)
  for _ in range(50):  # any box of a usual shape has a near window
    w, h = rng.uniform(30, 70, 2)
    x, y = rng.uniform(0, 160 - w), rng.uniform(0, 120 - h)
    assert iou(np.array([[x, y, x + w, y + h]]), found).max() > 0.55


def test_groups_are_smooth_and_touch():
  size, angle = rectangles(40, 40, (5, 5, 35, 35))
  labels = label_edges(size, angle)
  assert (labels >= 0).sum() == (size > 0).sum()
  for g in range(labels.max() + 1):
    held = np.sort(angle[labels == g])
    assert np.abs(np.diff(held)).sum() < np.pi / 2 + 1e-6
  lone = np.zeros((9, 9), "f")
  lone[4, 4] = 0.4
  assert (label_edges(lone, lone) == -1).all()  # too weak for a group
  lone[4, 5], lone[4, 6] = 1, 1
  assert (label_edges(lone, 0 * lone)[4, 4:7] == 0).all()


def test_neighbours_in_a_line_are_akin_and_those_beside_are_not():
  labels = np.full((12, 30), -1, np.int32)
  labels[5, 2:10], labels[5, 11:20], labels[7, 2:10] = 0, 1, 2
  groups = describe_groups(labels, (labels >= 0).astype("f"), np.zeros(labels.shape, "f"))
  a, b, c = np.argsort(groups.extent[:3, 1] * 100 + groups.extent[:3, 0])
  akin = dict(zip(groups.neighbour[a].tolist(), groups.affinity[a].tolist()))
  assert akin[b] > 0.99 and akin.get(c, 0) < 0.05
  assert groups.strength[:3].sum() == (labels >= 0).sum() and not groups.strength[3:].any()


def test_it_lowers_for_accelerators():
  groups = Groups(*(jax.ShapeDtypeStruct(s, d) for s, d in (((64,), jnp.float32), ((64, 4), jnp.float32),
                                                            ((64, 2), jnp.float32), ((64, 8), jnp.int32),
                                                            ((64, 8), jnp.float32))))
  edges = EdgeMap(groups, jax.ShapeDtypeStruct((41, 51, 1), jnp.float32))
  boxes = jax.ShapeDtypeStruct((30, 4), jnp.float32)
  score = jax.jit(lambda e, b: edge_box_scores(e, b, "paths"))
  assert export.export(score, platforms=["tpu", "cuda"])(edges, boxes)
