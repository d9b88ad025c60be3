"""Kinds of pictures that `vidx predict --show` draws, by what a run is asked for; nothing heavy is imported here."""

from collections.abc import Sequence

from vidx import errors

SIGNED = ("squeezed", "appearance", "band_pass")  # (B, N, H, W, C), what blocks make of the clip
GATES = ("gates",)  # (B, C), factors of channels
HEAT = ("attention", "gradcam")  # (B, N, H, W), not negative
SHARES = ("frame_share",)  # (B, N), how much each frame counts
KEPT = ("kept",)  # (B, T) of frames, (B, G, 1 + N) of tokens: zero for what a sampler drops
BOXES = ("candidates",)  # (B, N, K, 5), boxes in pixels and their weights, in N frames around the clip's middle
HEARD = ("spectrogram",)  # (B, 1, F, T), the sound of the clip, low bands below
KINDS = ("input", *HEARD, *SIGNED, *GATES, *KEPT, *SHARES, *BOXES, *HEAT)

RANKED, MEMORY = "ranked", "memory"
# What is drawn -> its kinds.
OF = {
    "clips": KINDS,
    "runs that find boxes": ("boxes", MEMORY),
    "people in --boxes": ("people",),
    "sentences": ("words",),
    "--text": (RANKED, "centres"),
    "--phrase": ("phrases",),
}


def listed() -> str:
  """All kinds, for the help of the command line."""
  return "; ".join(f"of {what}: {', '.join(known)}" for what, known in OF.items())


def words(show: str) -> list[str]:
  """The kinds of a text with commas."""
  return [word.strip() for word in show.split(",") if word.strip()]


def check_one(show: str, what: str) -> None:
  """Raises ConfigError for anything but one kind of a key of `OF`, or none; the nearest is named."""
  if show not in ("", *OF[what]):
    hint = ", one at a time" if len(words(show)) > 1 else errors.hint(show, OF[what])
    raise errors.ConfigError(f"--show={show}: of {what} it is {' or '.join(OF[what])}{hint}.")


def check(asked: Sequence[str], what: str = "") -> None:
  """Raises ConfigError where one of some kinds is none, or none of a key of `OF` if that is named; or there is none."""
  known = OF[what] if what else [kind for some in OF.values() for kind in some]
  wrong = next((word for word in asked if word not in known), None)
  if wrong is not None or not asked:
    raise errors.ConfigError(f"--show={','.join(asked)}: " + (
        f"unknown kind '{wrong}'{errors.hint(wrong, known)}" if asked else "no kind")
        + f"; the kinds{f' of {what}' if what else ''} are {', '.join(known)}.")
