"""Configs of runs and files of weights for `vidx data fuzz`; see vidx/data/fuzz_files.py."""

import io
import json
import os
import pickle
import tempfile
import zipfile

import numpy as np

from vidx.data.fuzz_files import Case
from vidx.infer import load
from vidx.interop import files
from vidx.train import config as config_lib


def configs() -> dict[str, Case]:
  """config.json and classes.json of a run."""
  content = {"config.json": config_lib.to_json(config_lib.base()).encode(),
             "classes.json": json.dumps({"verb": ["take", "put"], "noun": ["cup"]}).encode()}
  return {name: Case(content, name, load.settings) for name in content}


def weights() -> dict[str, Case]:
  """Weights in safetensors, in torch's archive, and in PySlowFast's pickle."""
  x = np.arange(24, dtype=np.float32).reshape(4, 6)
  with tempfile.TemporaryDirectory() as folder:
    path = os.path.join(folder, "w.safetensors")
    files.write_safetensors(path, {"fc.weight": x, "fc.bias": x[0], "bn.mean": x[1].astype(np.float16)})
    with open(path, "rb") as f:
      safe = f.read()
  blobs = pickle.dumps({"blobs": {"fc_w": x, "fc_b": x[0]}}, 2)
  found = {"w.safetensors": safe, "w.pkl": blobs, "w.pth": _archive(x)}
  read = lambda name: lambda root: {k: v.sum() for k, v in files.read_state(os.path.join(root, name)).items()}
  return {name: Case({name: content}, name, read(name)) for name, content in found.items()}


def _archive(x: np.ndarray) -> bytes:
  """What torch.save writes of {'fc.weight': x}: the opcodes of its pickle by hand, so that torch is not needed."""
  text = lambda word: b"X" + len(word).to_bytes(4, "little") + word.encode()
  storage = (b"(" + text("storage") + b"ctorch\nFloatStorage\n" + text("0") + text("cpu") + b"K" + bytes([x.size])
             + b"tQ")
  number = lambda n: b"K" + bytes([n])
  tensor = (b"ctorch._utils\n_rebuild_tensor_v2\n(" + storage + number(0) + number(x.shape[0]) + number(x.shape[1])
            + b"\x86" + number(x.shape[1]) + number(1) + b"\x86" + b"\x89ccollections\nOrderedDict\n)RtR")
  out = io.BytesIO()
  with zipfile.ZipFile(out, "w") as archive:
    archive.writestr("w/data.pkl", b"\x80\x02}" + text("fc.weight") + tensor + b"s.")
    archive.writestr("w/byteorder", "little")
    archive.writestr("w/data/0", x.tobytes())
    archive.writestr("w/version", "3\n")
  return out.getvalue()
