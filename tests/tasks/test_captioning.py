import math

import jax.numpy as jnp
import numpy as np

from vidx import tasks


def test_videos_without_a_caption_are_not_counted_among_parts_of_speech():
  task = tasks.get("tagging")
  logits = jnp.zeros((3, 3, 4)).at[:, :, 2].set(1)
  batch = {"tags": jnp.array([[3, 2, 2, -1], [3, 2, 1, 2], [-1, -1, -1, -1]]), "weight": jnp.ones(3),
           "text_count": jnp.array([1, 2, 0])}
  right = np.asarray(task.predict({"logits": logits}, batch)["right"])
  np.testing.assert_allclose(right, [1, 2 / 3, 0])
  found = task.metrics({"right": right, "text_count": np.array([1, 2, 0])})
  assert math.isclose(found["accuracy"], 100 * (1 + 2 / 3) / 2, rel_tol=1e-6)
  assert math.isnan(task.metrics({"right": right[2:], "text_count": np.zeros(1, int)})["accuracy"])
