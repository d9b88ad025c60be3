"""Verbs that measure: `vidx bench ...` and `vidx claims`."""

from vidx import errors
from vidx.command.verb import (
    CONFIG, JSON, Verb, every as _all, integer as _integer, number as _number, string as _string, switch as _bool)


def _bench_input(fv, args, overrides):
  from vidx.bench import input_speed
  input_speed.main(json=fv.json, videos=fv.videos, repeats=fv.repeats)


def _bench_start(fv, args, overrides):
  from vidx.bench import start_speed
  start_speed.main(json=fv.json, rows=fv.rows)


def _bench_model(fv, args, overrides):
  from vidx.bench import model_speed
  if len(args) != 1:
    raise errors.ConfigError("one model: vidx bench model NAME; `vidx models` lists them.")
  model_speed.main(args[0], json=fv.json, train=fv.train, batch=fv.batch, peer=fv.peer, dtype=fv.dtype,
                   seconds=fv.seconds, frames=fv.frames, side=fv.side)


def _bench_compiled(fv, args, overrides):
  from vidx.bench import compiled
  from vidx.train import config as config_lib
  if len(args) > 1 or bool(args) == bool(fv.config):
    raise errors.ConfigError("one model or one config: vidx bench compiled NAME, or --config=FILE.")
  config = config_lib.override(config_lib.load_file(fv.config), overrides) if fv.config else ""
  return compiled.main(*args, config=config, json=fv.json, train=fv.train, target=fv.target, batch=fv.batch,
                       fit=fv.fit, top=fv.top, hlo=fv.hlo, within=fv.within)


def _bench_estimates(fv, args, overrides):
  from vidx.bench import estimates
  return estimates.main(args, target=fv.target, train=fv.train, batch=fv.batch, fsdp=fv.fsdp, again=fv.again,
                        seconds=fv.seconds)


def _bench_conv(fv, args, overrides):
  from vidx.bench import conv_speed
  conv_speed.main(json=fv.json, pattern=" ".join(args), train=fv.train, dtype=fv.dtype, batch=fv.batch)


def _bench_adaptive(fv, args, overrides):
  from vidx.bench import adaptive_speed
  adaptive_speed.main(args, json=fv.json, batch=fv.batch, batches=fv.batches, seconds=fv.seconds, dtype=fv.dtype,
                      peer=fv.peer, branching=fv.branching)


def _bench_segmentation(fv, args, overrides):
  from vidx.bench import segmentation_speed
  segmentation_speed.main(args, json=fv.json, runs=fv.runs, seconds=fv.seconds)


def _bench_pvm(fv, args, overrides):
  from vidx.bench import pixel_verification_speed
  pixel_verification_speed.main(json=fv.json, side=fv.side, chunk=fv.chunk, train=fv.train, batch=fv.batch,
                                seconds=fv.seconds)


def _bench_tables(fv, args, overrides):
  from vidx.bench import tables
  tables.main()


def _bench_detection(fv, args, overrides):
  from vidx.bench import detection_speed
  detection_speed.main(json=fv.json, train=fv.train, frames=fv.frames, size=(fv.height, fv.width), boxes=fv.boxes,
                       seconds=fv.seconds)


def _claims(fv, args, overrides):
  from vidx.bench import claims
  if not args:
    print(claims.listed(fv.json))
    return 0
  return claims.main(args, fv.seeds, fv.json, fv.keep)


_TRAIN = _bool("train", "forward and backward pass; otherwise the forward pass")
_TARGET = _string("target", "v5e:2x2", "chips: v5e:2x2, v5p:2x2x1, v6e:2x2, larger slices, or h100")
_BATCH = _integer("batch", 1, "clips at once", 1)
_DTYPE = _string("dtype", "float32", "float32 or bfloat16")
_PEER = _bool("peer", "measure the PyTorch peer as well, in turns")

VERBS: dict[str, Verb] = {
    "bench input": Verb("clips per second of decoding, beside decord", "[--json]",
                        _all(JSON, _integer("videos", 8, "files", 1), _integer("repeats", 3, "passes per side", 1)),
                        _bench_input, words=False),
    "bench start": Verb("the first step of a training on many videos, and the memory of decoding processes",
                        "[--rows=1000000] [--json]",
                        _all(JSON, _integer("rows", 1_000_000, "of the larger data set", 1)), _bench_start,
                        words=False),
    "bench model": Verb("speed of a model, beside its PyTorch peer", "NAME [--train] [--batch=N] [--peer] [--json]",
                        _all(JSON, _TRAIN, _BATCH, _DTYPE, _PEER,
                             _number("seconds", 10.0, "how long the slower side is measured"),
                             _integer("frames", 0, "of a clip; 0: as published", 0),
                             _integer("side", 0, "of the frames, in pixels; 0: as published", 0)), _bench_model),
    "bench compiled": Verb(
        "what XLA's compiler makes of a model or a config's train step, for a chip that need not be there",
        "NAME|--config=FILE [--train] [--target=v5e:2x2|v5p:...|v6e:...|h100] [--batch=N] [--fit] [--json]",
        _all(JSON, _TRAIN, _string("config", "", "in place of a name: its whole train step"),
             _TARGET,
             _integer("batch", 0, "examples per chip; 0: 8, of a config its own", 0),
             _bool("fit", "find the largest batch that fits the chip"),
             _integer("top", 12, "instructions that are listed", 0),
             _string("within", "", "a part of the network, such as match_trans, whose share is told"),
             _string("hlo", "", "file for the program's text")), _bench_compiled, CONFIG),
    "bench estimates": Verb(
        "compiles many models, each in a process of its own; keeps what the compiler said in vidx/bench/compiled.md",
        "[PATTERN|FILE.py[:WORD] ...] [--train] [--target=v5e:2x2|...|h100] [--batch=N] [--fsdp=N] [--again]",
        _all(_TRAIN, _TARGET, _integer("batch", 0, "examples per chip; 0: 8, of a config its own", 0),
             _integer("fsdp", 1, "chips that the parameters of a config are divided over", 1),
             _bool("again", "also what the table has with this version of the compiler"),
             _number("seconds", 1800.0, "after which a program is given up")), _bench_estimates),
    "bench adaptive": Verb("what samplers save, counted and on the clock", "[NAME ...] [--peer] [--json]",
                           _all(JSON, _DTYPE, _PEER,
                                _bool("branching", "measure one program with branches per capacity as well, in turns"),
                                _integer("batch", 0, "examples at once; 0: as published", 0),
                                _integer("batches", 0, "in a stream; 0: as each case has it", 0),
                                _number("seconds", 20.0, "how long the slower side is measured")), _bench_adaptive),
    "bench segmentation": Verb(
        "speed and memory of systems of long videos, and of the duration DP", "[NAME ...] [--runs=FILE] [--json]",
        _all(JSON,
             _string("runs", "", "text file of real segments, a video per line in words LABEL:FRAMES; empty: drawn"),
             _number("seconds", 3.0, "how long each is measured")), _bench_segmentation),
    "bench pvm": Verb("pixel verification a chunk of rows at a time, beside the whole matrix", "[--side=128] [--train]",
                      _all(JSON, _TRAIN, _BATCH, _integer("side", 128, "of the image, in pixels", 1),
                           _integer("chunk", 1024, "rows at a time", 1),
                           _number("seconds", 3.0, "how long the slower side is measured")), _bench_pvm, words=False),
    "bench tables": Verb("the rows of the theses' tables, and by which config each is run, as markdown", "", _all(),
                         _bench_tables, words=False),
    "bench detection": Verb(
        "what a memory costs a detector of frames, in time and counted, and MatchTrans' part of it",
        "[--train] [--frames=N] [--height=N] [--width=N] [--json]",
        _all(JSON, _TRAIN, _integer("frames", 3, "of a clip", 1), _integer("height", 337, "of frames, in pixels", 1),
             _integer("width", 600, "of frames, in pixels", 1), _integer("boxes", 300, "of a frame", 1),
             _number("seconds", 10.0, "how long the slowest side is measured")), _bench_detection, words=False),
    "claims": Verb("run small experiments that a system has to win; without a name, list them",
                   "[NAME[/CLAIM]...] [--seeds=N] [--keep] [--json]",
                   _all(JSON, _integer("seeds", 0, "per claim; 0: as the claims say", 0),
                        _bool("keep", "write what came of them to configs/claims/README.md")), _claims),
    "bench conv": Verb("the lowerings of convolutions, layer by layer", "[PATTERN] [--train] [--batch=N] [--json]",
                       _all(JSON, _TRAIN, _BATCH, _DTYPE), _bench_conv),
}
