import pickle

import numpy as np
import pytest

from vidx import errors
from vidx.data import expert_files, experts


def pickled(path, content):
  path.write_bytes(pickle.dumps(content, protocol=2))


def test_pickles_by_expert_become_a_folder_per_expert(tmp_path):
  pickled(tmp_path / "features.rgb_agg.pkl", {"a": np.ones((2, 3), "f"), "b": np.full(3, np.nan), "c": float("nan")})
  pickled(tmp_path / "features.audio.pkl", {"a": np.ones(4)})
  pickled(tmp_path / "raw-captions.pkl", {"a": [["a", "dog"]]})
  found = expert_files.convert(str(tmp_path), str(tmp_path / "experts"))
  assert found == {"experts": {"audio": 1, "rgb": 1}, "missing": {"rgb": 2}}
  read = experts.read(experts.Stores(str(tmp_path)).find("a"), ("rgb", "audio", "s3d"))
  assert {k: v.shape for k, v in read.items()} == {"rgb": (2, 3), "audio": (1, 4)}
  assert expert_files.convert(str(tmp_path), str(tmp_path / "few"), "audio")["experts"] == {"audio": 1}


def test_nothing_in_a_pickle_is_run(tmp_path):
  class Evil:
    def __reduce__(self):
      return (open, (str(tmp_path / "written"), "w"))

  pickled(tmp_path / "features.rgb.pkl", {"a": Evil()})
  with pytest.raises(errors.DataError, match="it asks for .*open"):
    expert_files.convert(str(tmp_path), str(tmp_path / "out"))
  assert not (tmp_path / "written").exists()


def test_files_of_hdf5_by_video_become_the_same(tmp_path):
  h5py = pytest.importorskip("h5py", reason="HDF5 needs the extra 'text'")
  (tmp_path / "v").mkdir()
  with h5py.File(tmp_path / "v" / "v1.h5", "w") as f:
    f["features.rgb"], f["features.speech"] = np.ones((2, 3)), np.zeros((0, 5))
  assert expert_files.convert(str(tmp_path), str(tmp_path / "out")) == {"experts": {"rgb": 1}, "missing": {"speech": 1}}


@pytest.mark.parametrize("content, message", [([1], "holds list"), ({"a": np.ones((1, 1, 1))}, "not numbers of")])
def test_what_is_no_features_is_named(tmp_path, content, message):
  pickled(tmp_path / "features.rgb.pkl", content)
  with pytest.raises(errors.DataError, match=message):
    expert_files.convert(str(tmp_path), str(tmp_path / "out"))
  with pytest.raises(errors.DataError, match="holds no features of experts"):
    expert_files.convert(str(tmp_path), str(tmp_path / "out"), "audio")
