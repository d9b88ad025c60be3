"""What is printed is text, whatever names hold, and nobody need read it."""

import ast
import json
import os
import pathlib
import re
import subprocess
import sys

import pytest

from tests.system.conftest import environment
from vidx import cli, errors, terminal, writing
from vidx.data import check, datasets
from vidx.show import plots

ROOT = pathlib.Path(__file__).resolve().parents[1]
ODD = "caf\udce9 \x1b[2J\x1b[31m\u2028\x85\u202e$$x^{$$\n"


def child(*words, **options):
  return subprocess.Popen([sys.executable, *words], env=environment(PYTHONIOENCODING="utf-8:strict"),
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE, **options)


def test_controls_become_escapes_that_json_understands():
  assert terminal.shown("plain é 映像\n\t") == "plain é 映像\n\t"
  shown = terminal.shown(ODD)
  assert shown == "caf\\udce9 \\x1b[2J\\x1b[31m\\u2028\\u0085\\u202e$$x^{$$\n"
  assert terminal.line("a\nb\tc\r") == "a\\nb c\\x0d"
  text = json.dumps({"path": ODD}, ensure_ascii=False)
  assert json.loads(terminal.shown(text)) == {"path": ODD}


def test_names_of_any_bytes_are_written_and_found_again(tmp_path):
  (tmp_path / ODD).write_bytes(b"")
  file = tmp_path / "names.json"
  writing.write_text(file, json.dumps(os.listdir(tmp_path), ensure_ascii=False))
  name, = json.loads(file.read_text("utf-8"))
  assert os.path.exists(tmp_path / name)
  writing.write_table(tmp_path / "names.csv", ["name"], [[name]])
  assert "caf\\udce9" in (tmp_path / "names.csv").read_text("utf-8")


def test_plots_take_names_as_text():
  svg = plots.confusion([[1, 2], [3, 4]], [ODD, "$$cost^{_$"])
  assert "$$cost^{_$" in svg and "caf\\udce9 \\x1b[2J" in svg
  assert "$$" in plots.curves({"a$b$": ([0, 1], [1, 2]), "$$": ([0, 1], [2, 3])})


def test_a_program_prints_names_as_text_in_any_encoding():
  code = f"import sys; from vidx import terminal; terminal.guard(); print({ODD!r}); print({ODD!r}, file=sys.stderr)"
  out, err = child("-c", code).communicate()
  assert out == err == terminal.shown(ODD).encode() + b"\n"


def test_errors_are_one_line_whatever_they_name(capsys, tmp_path):
  assert cli.main(["data", "check", f"--root={tmp_path}/{ODD}"]) == 2
  err = capsys.readouterr().err
  assert err.count("\n") == 1 and "\x1b" not in err and "caf\\udce9 \\x1b[2J" in err


def test_data_check_lists_odd_names_a_line_each(capsys, tmp_path):
  for name in ("a", "b"):
    (tmp_path / name).mkdir()
    (tmp_path / name / f"{ODD}.mp4").write_bytes(b"no video")
  assert check.main("folder", str(tmp_path)) == 1
  lines = [x for x in capsys.readouterr().out.split("\n") if x.startswith("bad (")]
  assert len(lines) == 2 and all("\\x1b[2J" in x and "\x1b" not in x and "$$\\n.mp4" in x for x in lines)


def test_a_reader_that_goes_away_ends_a_command_without_a_word():
  process = child("-m", "vidx", "--help", bufsize=0)
  process.stdout.close()
  assert process.wait(timeout=60) == 141 and process.stderr.read() == b""


def test_what_is_trained_outlives_whoever_reads():
  code = ("from vidx import terminal\nimport sys\nterminal.guard()\nterminal.go_on_unread()\n"
          "for i in range(20000): print('step', i, flush=True)\nprint('done', file=sys.stderr)")
  process = child("-c", code, bufsize=0)
  process.stdout.close()
  assert process.wait(timeout=60) == 0 and process.stderr.read() == b"done\n"


def test_where_nothing_can_be_written_is_said_before_the_work(tmp_path, monkeypatch):
  file = tmp_path / "file"
  file.write_text("")
  for path, folder in ((tmp_path, False), (file / "x" / "y", False), (file, True)):
    with pytest.raises(errors.ConfigError, match=str(path)):
      writing.check_place(path, folder)
  writing.check_place(tmp_path / "new" / "x.json")
  writing.check_place(file)
  writing.check_place(tmp_path / "new", folder=True)
  monkeypatch.setattr(os, "access", lambda path, mode: str(path) != str(tmp_path))  # as of a disk that is read-only
  with pytest.raises(errors.ConfigError, match="nothing may be written"):
    writing.check_place(tmp_path / "new" / "x.json")
  for words in (["eval"], ["predict", "--show=input", "x.mp4"], ["predict", f"--out={tmp_path}/x.json", "x.mp4"]):
    assert cli.main([*words, f"--workdir={tmp_path}"]) == 2


def test_an_error_is_one_line_whatever_it_quotes(tmp_path):
  (tmp_path / "clips.csv").write_text('path,label,start,end\na.mp4,run,"1\n2",3\n')
  (tmp_path / "a.mp4").touch()
  with pytest.raises(errors.DataError, match=r"'1\\n2'") as e:
    datasets.read("folder", str(tmp_path), "train")
  assert len(str(e.value).splitlines()) == 1
  assert str(errors.ConfigError("no 'x\x1b[2J\u2028'")) == "no 'x\\x1b[2J\\u2028'"


@pytest.mark.parametrize("error, words", [
    (PermissionError(13, "Permission denied", "/w/x"), "/w/x: permission denied."),
    (OSError(30, "Read-only file system", "/w/\x1b[2Jx"), "/w/\\x1b[2Jx: read-only file system."),
    (OSError(28, "No space left on device", "/w/x"), "no space left on the disk"),
    (MemoryError(), "out of memory: take fewer videos at once"),
    (RuntimeError("RESOURCE_EXHAUSTED: Out of memory allocating 12375296452 bytes."), "out of memory: take fewer"),
])
def test_what_disk_and_memory_refuse_is_one_line(capsys, monkeypatch, error, words):
  def fail(*args):
    raise error
  monkeypatch.setattr("vidx.show.report.write_report", fail)
  assert cli.main(["report", "--workdir=w"]) == 2
  err = capsys.readouterr().err
  assert words in err and err.count("\n") == 1
  with pytest.raises(type(error)):
    cli.main(["report", "--workdir=w", "--debug"])


def test_an_error_of_the_program_is_not_hidden(monkeypatch):
  monkeypatch.setattr("vidx.show.report.write_report", lambda *a: 1 // 0)
  with pytest.raises(ZeroDivisionError):
    cli.main(["report", "--workdir=w"])


@pytest.mark.parametrize("count, noun, said", [
    (0, "clip", "0 clips"), (1, "clip", "1 clip"), (2, "clip", "2 clips"), (1200, "class", "1,200 classes"),
    (1, "key frame", "1 key frame"), (3, "box", "3 boxes"), (2, "micro-batch", "2 micro-batches"),
    (5, "image", "5 images")])
def test_a_count_agrees_with_its_noun(count, noun, said):
  assert terminal.counted(count, noun) == said


COUNTED = "bytes boxes captions classes clips columns examples features files frames images steps tokens videos words"
NEVER_ONE = {"length", "found.itemsize", "keep", "len(ORDER)"}


def test_no_message_counts_with_a_noun_that_does_not_agree():
  """`nn` and `backbones` know nothing of vidx, and have their counts from shapes."""
  nouns, wrong = re.compile(rf" (?:more |other )?(?:{'|'.join(COUNTED.split())})\b(?!/)|.*[a-z]\((?:s|es)\)"), []
  for path in sorted((ROOT / "vidx").rglob("*.py")):
    if path.relative_to(ROOT / "vidx").parts[0] in ("nn", "backbones"):
      continue
    for text in (n for n in ast.walk(ast.parse(path.read_text())) if isinstance(n, ast.JoinedStr)):
      wrong += [f"{path.relative_to(ROOT)}, line {text.lineno}: {ast.unparse(value)}{after.value[:20]}"
                for value, after in zip(text.values, text.values[1:])
                if isinstance(value, ast.FormattedValue) and isinstance(after, ast.Constant)
                and nouns.match(after.value) and ast.unparse(value.value) not in NEVER_ONE]
  assert not wrong, "say these by terminal.counted: " + "; ".join(wrong)
