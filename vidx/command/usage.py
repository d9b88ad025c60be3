"""Help of the command line, and the verb that its words name."""

from collections.abc import Mapping, Sequence

from absl import flags

from vidx import errors
from vidx.command.verb import Verb


def of_all(verbs: Mapping[str, Verb]) -> str:
  """Text of `vidx --help`: a line per verb."""
  width = max(map(len, verbs))
  lines = ["vidx: video understanding in JAX.", "", "usage: vidx VERB [flags] [arguments]", ""]
  lines += [f"  {name:<{width}}  {verb.summary}" for name, verb in verbs.items()]
  return "\n".join([*lines, "", "`vidx VERB --help` shows the flags of a verb; --debug shows tracebacks."])


def of_verb(name: str, verb: Verb, fv: flags.FlagValues) -> str:
  """Text of `vidx NAME --help`: a line per flag of `fv`, with its default."""
  lines = [f"vidx {name}: {verb.summary}", "", f"usage: vidx {name} {verb.usage}", ""]
  own = [fv[f] for f in sorted(fv) if f not in ("debug", "help")]
  for flag in own:
    default = "" if flag.default in (None, "", False) else f" (default {flag.default})"
    lines.append(f"  --{flag.name}: {flag.help}{default}")
  return "\n".join([*lines, "  --debug: show tracebacks"])


def find(verbs: Mapping[str, Verb], argv: Sequence[str]) -> tuple[str, Sequence[str]]:
  """Returns (verb, rest) of the words after `vidx`; a ConfigError names the nearest verb to an unknown one."""
  word = argv[0]
  group = [name for name in verbs if name.startswith(word + " ")]
  if group:
    second = argv[1] if len(argv) > 1 else ""
    if f"{word} {second}" in verbs:
      return f"{word} {second}", argv[2:]
    names = [g.split()[1] for g in group]
    if second in ("", "--help", "-h"):
      print("\n".join(f"  vidx {g}  {verbs[g].summary}" for g in group))
      raise SystemExit(0)
    raise errors.ConfigError(f"vidx {word} {second}: unknown; one of {', '.join(names)}{errors.hint(second, names)}.")
  if word not in verbs:
    raise errors.ConfigError(f"unknown verb '{word}'{errors.hint(word, verbs)}; `vidx --help` lists them.")
  return word, argv[1:]
