import csv

import cv2
import numpy as np

from vidx.data import toybox, triplets
from vidx.data.toybox import turntable
from vidx.infer import triplets as build


def test_every_azimuth_and_every_part_of_an_identity_is_seen():
  one = turntable.picture(0.6, 2, 1.6, 30.0).astype(int)
  azimuths = [turntable.picture(0.6, 2, 1.6, 15.0 * i).astype(int) for i in range(24)]
  for i in range(24):  # the least different of all is a neighbour: no two look alike
    apart = [np.abs(azimuths[i] - azimuths[j]).mean() if i != j else 1e9 for j in range(24)]
    assert min(apart) > 1
  for other in ((0.7, 2, 1.6), (0.6, 3, 1.6), (0.6, 2, 2.2)):
    assert np.abs(one - turntable.picture(*other, 30.0)).mean() > 1
  assert (one[:2] == one[0, 0]).all() and (one[:, :1] == one[0, 0]).all()  # it fits
  long = turntable.picture(0.1, 0, 2.2, 65.0)
  assert (long[:, 0] == long[0, 0]).all() and (long[:, -1] == long[0, 0]).all()


def test_a_clip_turns_once_round_and_identities_differ():
  told = [toybox.scene_of("turntable", "train", i, 24, 0)[1] for i in range(30)]
  assert all(sorted(azimuths) == [15.0 * i for i in range(24)] for *_, azimuths in told)
  assert len({t[0] for t in told}) == 30 and {t[1] for t in told} == set(turntable.STRIPES)
  assert toybox.scene_of("turntable", "val", 0, 24, 0)[1] != told[0]


def test_the_folder_is_one_of_clips_with_the_truth_beside_it(tmp_path):
  built = toybox.build(str(tmp_path), labels="turntable", split=(6, 2, 0), size=(32, 32), workers=1)
  assert built["rendered"] == built["videos"] == 8
  assert toybox.build(str(tmp_path), labels="turntable", split=(6, 2, 0), size=(32, 32), workers=1)["rendered"] == 0
  crops = triplets.read_crops(str(tmp_path), "train")
  assert len(crops.paths) == 6 * 24 and len(crops.clips) == 6
  with open(tmp_path / "turntable.csv", encoding="utf-8") as f:
    truth = {row["path"]: row for row in csv.DictReader(f)}
  assert set(crops.paths) < set(truth)
  row = truth[crops.paths[30]]
  found = cv2.imread(str(tmp_path / crops.paths[30]))[..., ::-1]
  np.testing.assert_array_equal(found, turntable.picture(
      float(row["hue"]), int(row["stripes"]), float(row["length"]), float(row["azimuth"]), (32, 32)))


def test_the_nearest_by_gradients_has_its_azimuth_within_15_degrees(tmp_path):
  toybox.build(str(tmp_path), labels="turntable", split=(10, 0, 0), workers=1)
  built = build.build(str(tmp_path), count=240, clusters=8)
  assert built["triplets"] == 240 and built["alone"] == 0
  with open(tmp_path / "turntable.csv", encoding="utf-8") as f:
    azimuth = {row["path"]: float(row["azimuth"]) for row in csv.DictReader(f)}
  with open(tmp_path / "triplets/train_crops.csv", encoding="utf-8") as f:
    rows = [(azimuth[row["path"]], azimuth[row["neighbour"]]) for row in csv.DictReader(f)]
  apart = np.abs((np.diff(rows, axis=1)[:, 0] + 180) % 360 - 180)
  assert (apart <= 15).mean() > 0.7, (apart <= 15).mean()
