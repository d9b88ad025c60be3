import jax
from jax import export
import jax.numpy as jnp
import numpy as np
import pytest

from vidx.data import spectrogram
from vidx.nn import log_mel
from vidx.nn.log_mel import mel_filters, pick_rows, rows_of

WAVE = np.random.default_rng(0).normal(0, 0.1, 34_048).astype("f")


def by_definition(samples, mels, rate=16000):
  """One window: its Fourier sums, its power, and the weight of every bin in every band, one number at a time."""
  n = len(samples)
  t = np.arange(n)
  windowed = samples * (0.5 - 0.5 * np.cos(2 * np.pi * t / n))
  power = [abs((windowed * np.exp(-2j * np.pi * k * t / n)).sum()) ** 2 for k in range(n // 2 + 1)]
  top = 2595 * np.log10(1 + rate / 2 / 700)
  edges = [700 * (10 ** (top * i / (mels + 1) / 2595) - 1) for i in range(mels + 2)]
  bands = []
  for low, middle, high in zip(edges, edges[1:], edges[2:]):
    total = 0.0
    for k, p in enumerate(power):
      f = k * rate / n
      if low < f < high:
        total += p * ((f - low) / (middle - low) if f <= middle else (high - f) / (high - middle)) * 2 / (high - low)
    bands.append(np.log(total + 1e-8))
  return np.array(bands)


@pytest.mark.parametrize("mels", [40, 80])
def test_it_is_what_the_definition_says(mels):
  got = np.asarray(jax.jit(lambda x: log_mel(x, mels))(WAVE))
  assert got.shape == (132, mels) and got.dtype == np.float32
  for row in (0, 57, 131):
    np.testing.assert_allclose(got[row], by_definition(WAVE[256 * row:256 * row + 512].astype(float), mels), atol=1e-4)


def test_host_and_graph_agree():
  np.testing.assert_allclose(jax.jit(log_mel)(WAVE), spectrogram.log_mel(WAVE), atol=1e-4)


def test_silence_is_the_floor_in_every_band():
  for rows in (log_mel(jnp.zeros(34_048)), spectrogram.log_mel(np.zeros(34_048, "f"))):
    assert rows.shape == (132, 80)
    np.testing.assert_allclose(rows, -18.42, atol=0.005)


def test_a_tone_is_loudest_in_the_band_around_it():
  tone = np.sin(2 * np.pi * 1000 * np.arange(16_000) / 16_000).astype("f")
  middles = mel_filters().argmax(0) * 16_000 / 512
  assert abs(middles[int(np.asarray(log_mel(tone)).mean(0).argmax())] - 1000) < 60


def test_it_is_equal_to_librosa_s():
  librosa = pytest.importorskip("librosa")
  own = np.log(librosa.feature.melspectrogram(y=WAVE, sr=16000, n_fft=512, win_length=512, hop_length=256, n_mels=80,
                                              htk=True, center=False) + 1e-8).T
  np.testing.assert_allclose(log_mel(WAVE), own, atol=1e-4)


def test_batches_mean_and_deviation():
  plain = log_mel(WAVE)
  np.testing.assert_allclose(log_mel(np.stack([WAVE, WAVE]), mean=-7.03, std=4.66)[1], (plain + 7.03) / 4.66, atol=1e-5)


def test_rows_are_picked_from_first_to_last():
  x = np.arange(132.0)[:, None]
  np.testing.assert_array_equal(pick_rows(x, 128)[:, 0], np.arange(128) * 131 // 127)
  np.testing.assert_array_equal(pick_rows(x, 1), [[0.0]])
  np.testing.assert_array_equal(pick_rows(x[:2], 5)[:, 0], [0, 0, 0, 0, 1])
  assert rows_of(511) == 0 and rows_of(512) == 1


def test_less_than_a_window_is_refused_in_the_graph_and_ends_in_silence_on_the_host():
  with pytest.raises(ValueError, match="511 samples"):
    log_mel(jnp.zeros(511))
  assert spectrogram.log_mel(WAVE[:100]).shape == (1, 80)


def test_bf16_samples_keep_the_floor_and_the_graph_lowers_for_accelerators():
  x = jnp.asarray(WAVE, jnp.bfloat16)
  assert log_mel(x).dtype == jnp.float32
  assert export.export(jax.jit(log_mel), platforms=["tpu", "cuda"])(x).mlir_module_serialized
