import math

from ml_collections import ConfigDict
import pytest

from vidx import errors
from vidx.errors import Range


@pytest.mark.parametrize("allowed, words, inside, outside", [
    (Range(0), "from 0 on", (0, 7, math.inf), (-1, math.nan)),
    (Range(0, below=True), "from 0 on", (0, 1e300), (math.inf,)),
    (Range(0, above=True), "above 0", (1e-9,), (0,)),
    (Range(0, 1), "from 0 to 1", (0, 1), (-0.1, 1.1)),
    (Range(0, 1, below=True), "from 0 on, below 1", (0, 0.9), (1,)),
    (Range(0, 1, above=True), "above 0, at most 1", (0.1, 1), (0,)),
    (Range(0, 2**32 - 1), "from 0 to 4294967295", (2**32 - 1,), (2**32,)),
])
def test_a_range_holds_what_its_words_say(allowed, words, inside, outside):
  assert str(allowed) == words
  assert all(map(allowed.holds, inside)) and not any(map(allowed.holds, outside))


def test_the_first_number_outside_of_its_range_is_named_with_its_section():
  section = ConfigDict(dict(a=1, b=dict(c=0.5)))
  errors.check_ranges(section, {"a": Range(1), "b.c": Range(0, 1), "b.none": Range(5), "none.c": Range(5)})
  with pytest.raises(errors.ConfigError, match=r"^data.b.c=0.5: write a number from 1 on.$"):
    errors.check_ranges(section, {"a": Range(1), "b.c": Range(1)}, "data.")
