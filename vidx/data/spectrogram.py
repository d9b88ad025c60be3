"""The log-mel spectrogram of a waveform on the host, in NumPy: the twin of `vidx.nn.log_mel`."""

import numpy as np

from vidx.nn.log_mel import FLOOR, HOP, MELS, RATE, WINDOW, hann, mel_filters, rows_of


def log_mel(waveform: np.ndarray, mels: int = MELS, rate: int = RATE, window: int = WINDOW, hop: int = HOP,
            floor: float = FLOOR) -> np.ndarray:
  """`vidx.nn.log_mel` on the host: float32 (samples,) -> float32 (rows, mels); a shorter one ends in silence."""
  samples = np.pad(np.asarray(waveform, np.float32), (0, max(0, window - len(waveform))))
  rows = rows_of(len(samples), window, hop)
  frames = np.lib.stride_tricks.sliding_window_view(samples, window)[::hop][:rows] * hann(window)
  spectrum = np.fft.rfft(frames)
  power = np.square(spectrum.real) + np.square(spectrum.imag)
  return np.log(power @ mel_filters(mels, rate, window) + np.float32(floor)).astype(np.float32)
