"""Files in torch's formats, written opcode by opcode, so that reading them needs no torch."""

import zipfile

import ml_dtypes
import numpy as np

STORAGES = {np.dtype("f4"): "FloatStorage", np.dtype("f2"): "HalfStorage", np.dtype("i8"): "LongStorage",
            np.dtype(ml_dtypes.bfloat16): "BFloat16Storage"}
MAGIC = 0x1950A86A20F9469CFC6C


def text(value):
  return b"X" + len(value.encode()).to_bytes(4, "little") + value.encode()


def number(value):
  return b"J" + value.to_bytes(4, "little", signed=True)


def several(*items):
  return b"(" + b"".join(items) + b"t"


def dictionary(pairs):
  return b"}(" + b"".join(text(k) + v for k, v in pairs.items()) + b"u"


def program(opcodes):
  return b"\x80\x02" + opcodes + b"."


def tensor(key, array, size=None, stride=None, offset=0, legacy=False):
  """A tensor as a view into the storage `key`; its size and stride are those of the array, unless given."""
  size = array.shape if size is None else size
  stride = [s // array.itemsize for s in array.strides] if stride is None else stride
  storage = several(text("storage"), b"ctorch\n" + STORAGES[array.dtype].encode() + b"\n", text(key), text("cpu"),
                    number(array.size), *([b"N"] if legacy else [])) + b"Q"
  return b"ctorch._utils\n_rebuild_tensor_v2\n" + several(
      storage, number(offset), several(*map(number, size)), several(*map(number, stride)), b"\x89",
      b"ccollections\nOrderedDict\n)R") + b"R"


def write_zip(path, opcodes, storages):
  """torch's format of today around a pickle and its storages."""
  with zipfile.ZipFile(path, "w") as archive:
    archive.writestr("archive/data.pkl", program(opcodes))
    archive.writestr("archive/byteorder", "little")
    for key, array in storages.items():
      archive.writestr(f"archive/data/{key}", array.tobytes())


def write_legacy(path, opcodes, storages):
  """torch's format of before 1.6."""
  magic = b"\x8a\x0a" + MAGIC.to_bytes(10, "little")
  keys = b"](" + b"".join(map(text, storages)) + b"e"
  head = [magic, number(1001), dictionary({"little_endian": b"\x88"}), opcodes, keys]
  data = [a.size.to_bytes(8, "little") + a.tobytes() for a in storages.values()]
  with open(path, "wb") as f:
    f.write(b"".join([*map(program, head), *data]))


def save(path, state, legacy=False, within=""):
  """A state dict, in an outer dict under the name `within` where that is given."""
  arrays = {k: np.ascontiguousarray(v) for k, v in state.items()}
  keys = {k: str(i) for i, k in enumerate(arrays)}
  opcodes = dictionary({k: tensor(keys[k], np.asarray(a).reshape(np.shape(state[k])), legacy=legacy)
                        for k, a in arrays.items()})
  opcodes = dictionary({"epoch": number(3), within: opcodes}) if within else opcodes
  (write_legacy if legacy else write_zip)(path, opcodes, {keys[k]: a for k, a in arrays.items()})
