"""Tables of videos: with and without a header, groups, spans, ids, and one file under two names."""

import os

import pytest

from vidx import errors
from vidx.data import datasets
from vidx.data.datasets import tables


def touch(root, *paths):
  for path in paths:
    (root / path).parent.mkdir(parents=True, exist_ok=True)
    (root / path).touch()


def write(root, name, *lines, end="\n"):
  (root / name).parent.mkdir(parents=True, exist_ok=True)
  (root / name).write_bytes("".join(line + end for line in lines).encode())
  return root


def read(root, split="train", reader="folder", **options):
  return datasets.load(reader, str(root), split, **options)


def both(root, reader="folder", **options):
  """All records, train and val."""
  found = []
  for split in ("train", "val"):
    try:
      found += read(root, split, reader, **options).records
    except errors.AbsentError:
      pass
  return found


# ---------------------------------------------------------------- without a header


@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("line", ["{} {}", "{},{}", "{}, {}", "{}\t{}", '"{}","{}"', '"{}", "{}"'])
def test_lines_of_path_and_label_need_no_header(tmp_path, line, end):
  names = ["a.mp4", "deep/b c.MKV", "d,e.webm" if line.startswith('"') else "d.webm"]
  touch(tmp_path, *names)
  write(tmp_path, "train.csv", *(line.format(n, i) for i, n in enumerate(names)), end=end)
  found = read(tmp_path, reader="csv")
  assert [(r.id, r.label) for r in found.records] == [(n, i) for i, n in enumerate(names)]
  assert found.classes == ("0", "1", "2")
  write(tmp_path, "clips.csv", *(line.format(n, "x") for n in names), end=end)
  assert [r.id for r in both(tmp_path)] and {r.id for r in both(tmp_path)} == set(names)


def test_lists_of_frame_folders_may_hold_the_number_of_frames(tmp_path):
  touch(tmp_path, "one/img_00001.jpg", "two/img_00001.jpg")
  write(tmp_path, "train.csv", "one 163 1", "two 20 0", "gone 9 0")
  found = read(tmp_path, reader="csv", max_missing=0.5)
  assert [(r.id, r.media.kind, found.classes[r.label]) for r in found.records] == [
      ("one", "frames", "1"), ("two", "frames", "0")]
  assert len(found.missing) == 1


def test_names_of_classes_may_hold_spaces_in_a_list(tmp_path):
  touch(tmp_path, "a b.mp4")
  write(tmp_path, "train.csv", "a b.mp4 high jump")
  found = read(tmp_path, reader="csv")
  assert (found.records[0].id, found.classes) == ("a b.mp4", ("high jump",))


def test_a_line_that_is_no_pair_is_named(tmp_path):
  touch(tmp_path, "a.mp4")
  write(tmp_path, "train.csv", "a.mp4 0", "", "b.mp4")
  with pytest.raises(errors.DataError, match=r"train.csv, line 3: 'b.mp4' is not a path and a label"):
    read(tmp_path, reader="csv")


def test_a_header_with_other_names_is_none_of_a_list(tmp_path):
  touch(tmp_path, "a.mp4")
  write(tmp_path, "train.csv", "video,class", "a.mp4,run")
  with pytest.raises(errors.DataError, match="line 1: no column 'path'"):
    read(tmp_path, reader="csv")


# ---------------------------------------------------------------- names and text


@pytest.mark.parametrize("name", ["a\u2028b.mp4", "a\u0085b.mp4", "a\x0bb.mp4", "a\nb.mp4"])
def test_names_may_hold_other_ends_of_lines(tmp_path, name):
  touch(tmp_path, name)
  write(tmp_path, "train.csv", "path,label", f'"{name}",jump', "gone.mp4,run")
  found = read(tmp_path, reader="csv", max_missing=0.5)
  assert [r.id for r in found.records] == [name] and found.missing == ("gone.mp4",)


def test_quotes_after_a_space_are_quotes(tmp_path):
  touch(tmp_path, "a.mp4")
  write(tmp_path, "train.csv", '"path", "label"', '"a.mp4", "jump"')
  assert read(tmp_path, reader="csv").classes == ("jump",)


# ---------------------------------------------------------------- one file under two names


def second_name(root, how):
  if how == "absolute":
    return str(root / "a.mp4")
  if how == "linked folder":
    os.symlink(".", root / "here")
    return "here/a.mp4"
  {"link": os.symlink, "hard link": os.link}[how](root / "a.mp4", root / "b.mp4")
  return "b.mp4"


@pytest.mark.parametrize("how", ["absolute", "link", "hard link", "linked folder"])
@pytest.mark.parametrize("label", ["jump", "run"])
def test_one_file_under_two_names_is_refused(tmp_path, how, label):
  touch(tmp_path, "a.mp4")
  name = second_name(tmp_path, how)
  write(tmp_path, "clips.csv", "path,label", "a.mp4,jump", f"{name},{label}")
  with pytest.raises(errors.DataError, match=r"clips.csv, line 3: '.*' is the file of line 2 under another name") as e:
    read(tmp_path)
  assert "\n" not in str(e.value)


# ---------------------------------------------------------------- groups and hashes


def table_of_groups(root, column="group", groups=10, of=6):
  names = [f"v{i:03d}.mp4" for i in range(groups * of)]
  touch(root, *names)
  write(root, "clips.csv", f"path,label,{column}", *(f"{n},x,{i % groups}" for i, n in enumerate(names)))


@pytest.mark.parametrize("reader, options", [("folder", {}), ("csv", dict(file="clips.csv"))])
@pytest.mark.parametrize("groups", [2, 10])
def test_a_group_comes_into_one_split(tmp_path, reader, options, groups):
  table_of_groups(tmp_path, groups=groups)
  train, val = ({r.extra["group"] for r in read(tmp_path, s, reader, **options).records} for s in ("train", "val"))
  assert not train & val and len(train | val) == groups and len(val) == max(1, groups // 5)


def test_another_column_may_be_the_group(tmp_path):
  table_of_groups(tmp_path, "source_group")
  train, val = ({r.extra["source_group"] for r in read(tmp_path, s, group="source_group").records}
                for s in ("train", "val"))
  assert not train & val
  assert not read(tmp_path, group="source_group").notes and "source_group" in read(tmp_path).notes[0]


def test_groups_of_real_clips_are_kept_together(real_data, tmp_path):
  source = real_data("fight_surv")
  lines = [line.rsplit(",", 1)[0] for line in (source / "clips.csv").read_text().splitlines()]  # without the fold
  write(tmp_path, "clips.csv", *lines)
  for name in ("fight", "noFight"):
    if (source / name).is_dir():
      os.symlink(source / name, tmp_path / name)
  train, val = ({r.extra["source_group"] for r in read(tmp_path, s, group="source_group").records}
                for s in ("train", "val"))
  assert train and val and not train & val


def test_where_a_data_set_lies_decides_nothing(tmp_path):
  splits = []
  for at in ("one", "another/disk/of/the/lab"):
    root = tmp_path / at
    names = [f"{c}/{i:03d}.mp4" for c in "ab" for i in range(100)]
    touch(root, *names)
    write(root, "clips.csv", "path,label", *(f"{root / n},{n[0]}" for n in names))
    splits.append({s: [os.path.relpath(r.id, root) for r in read(root, s).records] for s in ("train", "val")})
  assert splits[0] == splits[1] and 20 < len(splits[0]["val"]) < 60


def test_relative_paths_come_into_the_splits_that_they_always_had(tmp_path):
  names = [f"{i}.mp4" for i in range(20)]
  touch(tmp_path, *names)
  write(tmp_path, "clips.csv", "path,label", *(f"{n},x" for n in names))
  assert [r.id for r in read(tmp_path, "val").records] == ["6.mp4", "11.mp4"]


# ---------------------------------------------------------------- ids


@pytest.mark.parametrize("reader, file", [("folder", "clips.csv"), ("csv", "train.csv")])
def test_ids_that_count_from_one_are_refused_with_the_remedy(tmp_path, reader, file):
  touch(tmp_path, *(f"{i}.mp4" for i in range(6)))
  write(tmp_path, "classes.txt", "jump", "run", "sit")
  write(tmp_path, file, "path,label", *(f"{i}.mp4,{i % 3 + 1}" for i in range(6)))
  with pytest.raises(errors.DataError, match="count from 1 to 3, those of the 3 classes .*first_id=1") as e:
    read(tmp_path, reader=reader)
  assert "\n" not in str(e.value)
  found = [r for r in both(tmp_path, reader, first_id=1)] if reader == "folder" else read(
      tmp_path, reader=reader, first_id=1).records
  assert {(r.id, r.label) for r in found} == {(f"{i}.mp4", i % 3) for i in range(6)}


def test_ids_that_may_count_from_one_are_said(tmp_path):
  touch(tmp_path, *(f"{i}.mp4" for i in range(6)))
  write(tmp_path, "classes.txt", "jump", "run", "sit")
  write(tmp_path, "clips.csv", "path,label", *(f"{i}.mp4,{i % 2 + 1}" for i in range(6)))
  note, = read(tmp_path).notes
  assert "no label is 0, which is 'jump'" in note and "first_id=1" in note
  write(tmp_path, "clips.csv", "path,label", *(f"{i}.mp4,{i % 3}" for i in range(6)))
  assert read(tmp_path).notes == ()
  with pytest.raises(errors.DataError, match="a label is 0"):
    read(tmp_path, first_id=1)
  with pytest.raises(errors.ConfigError, match="first_id=2"):
    read(tmp_path, first_id=2)


def test_the_tables_of_all_splits_show_how_ids_count(tmp_path):
  touch(tmp_path, "a.mp4", "b.mp4")
  write(tmp_path, "classes.txt", "jump", "run")
  write(tmp_path, "train.csv", "path,label", "a.mp4,0")
  write(tmp_path, "val.csv", "path,label", "b.mp4,1")
  assert read(tmp_path, "val", "csv").records[0].label == 1 and not read(tmp_path, "val", "csv").notes


# ---------------------------------------------------------------- columns


def test_start_and_end_are_seconds_of_a_part(tmp_path):
  touch(tmp_path, "a.mp4", "b.mp4")
  write(tmp_path, "train.csv", "path,label,start,end", "a.mp4,x,0,1.5", "a.mp4,y,1.5,4", "b.mp4,x,,")
  found = read(tmp_path, reader="csv")
  assert [(r.id, r.span) for r in found.records] == [
      ("a.mp4 at 0 to 1.5", (0, 1.5)), ("a.mp4 at 1.5 to 4", (1.5, 4)), ("b.mp4", None)]
  assert found.notes == ()


@pytest.mark.parametrize("lines, message", [
    (["path,label,start", "a.mp4,x,1"], "'start' and 'end' go together"),
    (["path,label,start,end", "a.mp4,x,2,1"], "line 2: from 2 to 1 s is no part"),
    (["path,label,start,end", "a.mp4,x,-1,1"], "line 2: from -1 to 1 s is no part"),
    (["path,label,start,end", "a.mp4,x,one,2"], "line 2: start 'one' is not a number"),
    (["path,label,start,end", "a.mp4,x,1,"], "line 2: end '' is not a number"),
    (["path,label,start,end", "a.mp4,x,1,2", "a.mp4,y,1,2"], "line 3: .* stands already in line 2"),
])
def test_a_part_that_is_none_is_named(tmp_path, lines, message):
  touch(tmp_path, "a.mp4")
  write(tmp_path, "train.csv", *lines)
  with pytest.raises(errors.DataError, match=message):
    read(tmp_path, reader="csv")


def test_columns_that_are_not_used_are_named(tmp_path):
  touch(tmp_path, "a.mp4")
  write(tmp_path, "clips.csv", "path,label,split,begin,who", "a.mp4,x,train,1,me")
  found = read(tmp_path)
  note, = found.notes
  assert "columns not used: begin, who" in note and found.records[0].extra == {"begin": "1", "who": "me"}


# ---------------------------------------------------------------- the inputs that once failed


def test_inputs_that_once_failed(case, tmp_path):
  names = [f"testsrc{two}_{i}.mp4" for two in ("", "2") for i in range(8)]
  touch(tmp_path, *names, "a\nb.mp4")

  def table(number, name, **replaced):
    text = (case(number) / name).read_text(encoding="utf-8")
    (tmp_path / "clips.csv").write_text(text.replace("/absolute/path/of/this/folder", str(tmp_path)), encoding="utf-8")
    return tmp_path

  with pytest.raises(errors.DataError, match="testsrc_0.mp4' is the file of line 2 under another name"):
    read(table(16, "dupabs.csv"))
  found = both(table(17, "slowfast.csv"))
  assert {(r.id, r.label) for r in found} == {(n, int("2_" in n)) for n in names}
  (tmp_path / "classes.txt").write_text((case(17) / "classes.txt").read_text())
  assert "first_id=1" in read(table(17, "from1classes.csv")).notes[0]
  found = both(tmp_path, first_id=1)
  assert {(r.id, r.label) for r in found} == {(n, int("2_" in n)) for n in names}


# ---------------------------------------------------------------- what is easily got wrong


def test_a_class_that_the_hash_leaves_out_of_a_split_is_named(tmp_path):
  names = [f"{i}.mp4" for i in range(40)]
  touch(tmp_path, *names)
  of = {n: tables.hashed_split(n) for n in names}
  once = next(n for n in names if of[n] == "train")
  write(tmp_path, "clips.csv", "path,label", *(f"{n},{'rare' if n == once else 'often'}" for n in names))
  assert read(tmp_path, "train").notes == ()
  assert read(tmp_path, "val").notes == (
      f"{tmp_path}/clips.csv: no record of 1 of its classes (rare) comes into split 'val', as hashes of paths decide;"
      " give it a column 'split'",)
  write(tmp_path, "clips.csv", "path,label,split", *(f"{n},{'rare' if n == once else 'often'},{of[n]}" for n in names))
  assert read(tmp_path, "val").notes == ()


def test_folds_are_asked_for_by_their_own_numbers(tmp_path):
  touch(tmp_path, "a.mp4", "b.mp4", "c.mp4")
  write(tmp_path, "clips.csv", "path,label,fold", "a.mp4,x,1", "b.mp4,x,2", "c.mp4,x,3")
  with pytest.raises(errors.ConfigError, match="--config.data.train_folds=1,2 --config.data.val_folds=3, or .*"
                     " train_folds=1,2 val_folds=3"):
    read(tmp_path)
  with pytest.raises(errors.ConfigError, match="no line of .*clips.csv is of fold 0, .* its folds are 1, 2, 3"):
    read(tmp_path, train_folds="0,1", val_folds=2)
  assert [r.id for r in read(tmp_path, train_folds="1,2", val_folds=3).records] == ["a.mp4", "b.mp4"]


@pytest.mark.parametrize("sign, shown", [(";", "';'"), ("\t", r"'\\t'")])
def test_columns_that_no_comma_parts_are_told(tmp_path, sign, shown):
  write(tmp_path, "clips.csv", f"path{sign}label", f"a.mp4{sign}run")
  with pytest.raises(errors.DataError, match=f"clips.csv, line 1: its columns are parted by {shown}; write it with"):
    read(tmp_path)


@pytest.mark.parametrize("name", ["list.txt", "labels.csv", "Clips.CSV"])
def test_a_table_of_another_name_is_named(tmp_path, name):
  touch(tmp_path, "a.mp4")
  write(tmp_path, name, "a.mp4 run")
  with pytest.raises(errors.DataError, match=f"nor a folder per class, but {name}: .* --config.data.dataset.file={name}"
                     f" .*--dataset=csv file={name}"):
    read(tmp_path)
  assert [r.id for r in both(tmp_path, "csv", file=name)] == ["a.mp4"]


def test_a_root_that_is_one_level_too_low_is_told(tmp_path):
  touch(tmp_path, "run/a.mp4", "run/b.mp4")
  with pytest.raises(errors.DataError, match="but 2 videos such as a.mp4: name the folder above it"):
    read(tmp_path / "run")
  write(tmp_path, "clips.csv", "path,label", "run/a.mp4,x")
  with pytest.raises(errors.DataError, match=f"clips.csv is a file: name the folder in which it lies, {tmp_path}.$"):
    read(tmp_path / "clips.csv")
  write(tmp_path, "list.csv", "path,label", "run/a.mp4,x")
  with pytest.raises(errors.DataError, match=f"lies, {tmp_path}; .* by the reader 'csv' with file=list.csv"):
    read(tmp_path / "list.csv")


def test_tables_that_are_not_where_they_are_looked_for_are_answered_with_those_that_are_there(tmp_path):
  touch(tmp_path, "run/a.mp4")
  write(tmp_path, "list.csv", "path,label", "run/a.mp4,x")
  with pytest.raises(errors.DataError, match="none of train.csv, val.csv, test.csv, but list.csv: .*file=list.csv"):
    datasets.load("csv", str(tmp_path), "train")
  (tmp_path / "built").mkdir()
  write(tmp_path / "built", "records-val.jsonl", "{}")
  with pytest.raises(errors.DataError, match="`vidx data build` wrote it, .*=array_record"):
    read(tmp_path / "built")
