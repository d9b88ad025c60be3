"""Log-mel spectrograms in the graph: what a waveform holds, window by window, in bands as wide as ears have them.

Xiao, Lee, Grauman, Malik, Feichtenhofer: "Audiovisual SlowFast Networks for Video
Recognition", 2020: windows of 32 ms, one every 16 ms, at 16 kHz. `vidx.data.spectrogram`
has the same for the host, in NumPy, and agrees to 1e-4.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from vidx.nn import shapes

RATE = 16000  # samples per second
WINDOW, HOP = 512, 256  # samples: 32 ms and 16 ms
MELS = 80
FLOOR = 1e-8  # added to the power of every band; silence is log(1e-8) = -18.42


@functools.lru_cache(maxsize=8)
def mel_filters(mels: int = MELS, rate: int = RATE, window: int = WINDOW, low: float = 0.0, high: float = 0.0
                ) -> np.ndarray:
  """Triangles over the bins of a Fourier transform, evenly spaced in mel = 2595 log10(1 + f / 700), of equal area.

  Args:
    mels: how many.
    rate: samples per second.
    window: samples of the transform.
    low: Hz where the first begins.
    high: Hz where the last ends; 0: half the rate.

  Returns:
    fp32 (window // 2 + 1, mels).
  """
  to_mel = lambda f: 2595.0 * np.log10(1.0 + f / 700.0)
  edges = 700.0 * (10.0 ** (np.linspace(to_mel(low), to_mel(high or rate / 2), mels + 2) / 2595.0) - 1.0)
  bins = np.arange(window // 2 + 1) * rate / window
  rising = (bins[:, None] - edges[:-2]) / (edges[1:-1] - edges[:-2])
  falling = (edges[2:] - bins[:, None]) / (edges[2:] - edges[1:-1])
  filters = np.maximum(0, np.minimum(rising, falling)) * 2.0 / (edges[2:] - edges[:-2])
  return filters.astype(np.float32)


def hann(window: int = WINDOW) -> np.ndarray:
  """The periodic Hann window, fp32 (window,)."""
  return (0.5 - 0.5 * np.cos(2 * np.pi * np.arange(window) / window)).astype(np.float32)


def rows_of(samples: int, window: int = WINDOW, hop: int = HOP) -> int:
  """Windows that lie inside so many samples: 132 of 34,048."""
  return max(0, 1 + (samples - window) // hop)


def log_mel(waveform: jax.Array, mels: int = MELS, rate: int = RATE, window: int = WINDOW, hop: int = HOP,
            floor: float = FLOOR, mean: float = 0.0, std: float = 1.0) -> jax.Array:
  """(log(mel power + floor) - mean) / std of every whole window of a waveform; fp32 throughout.

  Args:
    waveform: (..., samples) in -1..1.
    mels: bands.
    rate: samples per second.
    window: samples of a window, Hann.
    hop: samples from one window to the next.
    floor: added to the power.
    mean: taken off; -7.03 as published.
    std: divided by; 4.66 as published.

  Returns:
    fp32 (..., rows, mels), see `rows_of`.

  Raises:
    ValueError: fewer samples than a window, samples that are whole numbers, which are not in -1..1, or counts below 1.
  """
  shapes.check("log_mel", waveform=(waveform, "... S"))
  shapes.check_floats("log_mel", waveform=waveform)
  shapes.check_numbers("log_mel", mels=mels, rate=rate, window=window, hop=hop)
  if not std or floor < 0:
    raise ValueError(f"log_mel: std = {std} and floor = {floor}: divide by a number above 0, and add none below 0")
  rows = rows_of(waveform.shape[-1], window, hop)
  if not rows:
    raise ValueError(f"log_mel: {waveform.shape[-1]} samples are less than a window of {window}")
  index = np.arange(rows)[:, None] * hop + np.arange(window)
  frames = waveform.astype(jnp.float32)[..., index] * hann(window)
  spectrum = jnp.fft.rfft(frames)
  power = jnp.square(spectrum.real) + jnp.square(spectrum.imag)
  bands = jnp.matmul(power, mel_filters(mels, rate, window), precision=jax.lax.Precision.HIGHEST)
  return (jnp.log(bands + floor) - mean) / std


def pick_rows(x: jax.Array | np.ndarray, rows: int) -> jax.Array | np.ndarray:
  """So many rows (..., R, mels) -> (..., rows, mels), evenly from the first to the last, positions rounded down."""
  have = x.shape[-2]
  return x[..., np.arange(rows) * (have - 1) // max(rows - 1, 1), :]
