import pytest

from vidx.nn import choices


def test_a_value_that_is_not_known_is_named_beside_those_that_are_and_the_nearest():
  choices.check("form", "rank", ("rank", "full"))
  choices.check("form", "", ("", "full"))
  choices.check("stride", 3, (1, 3))
  for value, known, text in (("ful", ("", "rank", "full"),
                              "form = 'ful' is not one of rank, full, or empty .nearest: 'full'.$"),
                             (2, (1, 3), "form = 2 is not one of 1, 3$"), ("", ("a",), "form = '' is not one of a$")):
    with pytest.raises(ValueError, match=text):
      choices.check("form", value, known)
