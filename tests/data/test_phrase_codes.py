import numpy as np
import pytest

from vidx import errors
from vidx.data import phrase_codes

TEXTS = [f"phrase {i}" for i in range(20)]
CODES = np.random.default_rng(0).normal(size=(20, 3)).astype("f")


def test_codes_are_found_by_their_phrase_and_added_to(tmp_path):
  phrase_codes.write(str(tmp_path), TEXTS[:12], CODES[:12], {"a": 1})
  first = phrase_codes.Codes(str(tmp_path))
  assert first.width == 3 and first.lacking(TEXTS) == TEXTS[12:]
  phrase_codes.write(str(tmp_path), TEXTS[12:], CODES[12:], {"a": 1}, first)
  both = phrase_codes.Codes(str(tmp_path))
  np.testing.assert_array_equal(np.stack([both[t] for t in TEXTS]), CODES)
  assert not both.lacking(TEXTS) and phrase_codes.settings(str(tmp_path)) == {"a": 1}
  with pytest.raises(errors.DecodeError, match="no code of 'other'"):
    both["other"]


def test_absent_and_damaged_codes_say_what_to_do(tmp_path):
  assert phrase_codes.settings(str(tmp_path)) is None
  with pytest.raises(errors.DataError, match="training with it makes them"):
    phrase_codes.Codes(str(tmp_path))
  phrase_codes.write(str(tmp_path), TEXTS, CODES, {})
  np.save(tmp_path / "keys.npy", np.zeros(3, np.uint64))
  with pytest.raises(errors.DataError, match="is damaged .* remove it"):
    phrase_codes.Codes(str(tmp_path))
