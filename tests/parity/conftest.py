import pytest

from vidx.nn import conv


@pytest.fixture(autouse=True, scope="session")
def plain_convolutions():
  """Lowerings have tests of their own; XLA's convolution compiles soonest."""
  with conv.using("native"):
    yield
