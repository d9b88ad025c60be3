"""Ways to damage a checkpoint."""

import numpy as np

KINDS = ("bit", "bit", "bit", "cut", "empty", "gone", "zeros", "checksums")


def damage(folder, step, seed):
  """Damages a checkpoint in the way that belongs to a seed; what was done to it."""
  rng, kind = np.random.default_rng(seed), KINDS[seed % len(KINDS)]
  files = sorted(p for p in (folder / f"checkpoints/{step}").rglob("*") if p.is_file())
  path = folder / f"checksums/{step}.json" if kind == "checksums" else files[rng.integers(len(files))]
  content = bytearray(path.read_bytes())
  at = int(rng.integers(max(1, len(content))))
  if kind in ("bit", "checksums") and content:
    content[at] ^= 1 << rng.integers(8)
  elif kind == "cut":
    del content[at:]
  elif kind == "zeros":
    content[at:] = bytes(len(content) - at)
  elif kind == "empty":
    content.clear()
  path.unlink() if kind == "gone" else path.write_bytes(content)
  return f"{kind} {path.relative_to(folder)}"
