"""Annotations of every reader of data sets, small and intact, for `vidx data fuzz`; see vidx/data/fuzz_files.py."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from vidx import errors
from vidx.data.fuzz_files import Case, as_json, npy, shard, text

_X = b"x"  # what stands for media, which no reader opens
_MAPPING = text("0 SIL", "1 pour", "2 stir")
_FRAMES = text(*(("SIL", "pour", "stir")[t // 4] for t in range(12)))


def annotations() -> dict[str, Case]:
  """The files of every reader, each of which is spoilt in turn."""
  found = {}
  for name, files, targets, options in _layouts():
    for target in targets:
      found[f"{name}.{target}"] = Case(files, target, _reading(name, **options))
  return found


def _reading(name: str, splits: Sequence[str] = ("train", "val", "test"), **options: Any) -> Callable[[str], None]:
  def read(root: str) -> None:
    from vidx.data import datasets
    for split in splits:
      try:
        found = datasets.read(name, root, split, **options)
      except errors.AbsentError:
        continue
      found.fingerprint()
      repr(found.records[:3])
  return read


def _layouts() -> Iterator[tuple[str, dict[str, bytes], list[str], dict[str, Any]]]:
  """(reader, files, those that are spoilt, options) of every data set."""
  for made in (_of_clips, _of_actions, _of_kitchens, _of_sentences, _of_long_videos, _of_images):
    for name, files, media, options in made():
      yield name, {**files, **dict.fromkeys(media, _X)}, list(files), options


def _of_clips():
  clips = [f"videos/v{i}.mp4" for i in range(6)]
  rows = [f"videos/v{i}.mp4,{'jump' if i % 2 else 'run'},{('train', 'val')[i // 4]},{i},{i + 2.5}" for i in range(6)]
  yield "folder", {"clips.csv": text("path,label,split,start,end", *rows),
                   "classes.txt": text("run", "jump")}, clips, {}
  yield "csv", {"train.csv": text(*(f"videos/v{i}.mp4 {i % 2}" for i in range(4)))}, clips, {"splits": ["train"]}
  yield "ucf101", {
      "classInd.txt": text("1 Archery", "2 Bowling"), "trainlist01.txt": text("Archery/a.avi 1", "Bowling/b.avi 2"),
      "testlist01.txt": text("Archery/c.avi")}, ["Archery/a.avi", "Bowling/b.avi", "Archery/c.avi"], {}
  yield "hmdb51", {"run_test_split1.txt": text("a.avi 1", "b.avi 2", "c.avi 0"),
                   "walk_test_split1.txt": text("d.avi 1")}, ["run/a.avi", "run/b.avi", "walk/d.avi"], {}
  names = [f"{'abc'[i]}_{10 * i:06d}_{10 * i + 10:06d}.mp4" for i in range(3)]
  rows = [f"{('run', 'jump')[i % 2]},{'abc'[i]},{10 * i},{10 * i + 10},train" for i in range(3)]
  yield "kinetics", {"train.csv": text("label,youtube_id,time_start,time_end,split", *rows)}, names, {
      "splits": ["train"]}
  yield "kinetics", {"train_videofolder.txt": text("one two 12 0", "three 9 1"), "classes.txt": text("run", "jump")}, [
      "one two/img_00001.jpg", "three/img_00001.jpg"], {"splits": ["train"]}
  yield "ssv1", {"something-something-v1-labels.csv": text("Lifting a thing", "Closing a thing"),
                 "something-something-v1-train.csv": text("1;Lifting a thing", "2;Closing a thing"),
                 "something-something-v1-test.csv": text("3")}, ["1/00001.jpg", "2/00001.jpg", "3/00001.jpg"], {
                     "splits": ["train", "test"]}
  entry = lambda i: {"id": str(i), "label": "lifting a cup", "template": "Lifting [something]",
                     "placeholders": ["a cup"]}
  yield "ssv2", {"labels.json": as_json({"Lifting something": "0", "Closing something": "1"}),
                 "train.json": as_json([entry(1), entry(2)])}, ["1.webm", "2.webm"], {"splits": ["train"]}
  yield "frame_list", {"act_train.txt": text("v_a,30,2,0,-1", "v_b,4,1,-1,-1"),
                       "classInd.txt": text("0 Archery", "1 Ballet", "2 Long jump")}, [
                           "frames/v_a/image_00001.jpg", "frames/v_b/image_00001.jpg"], {
                               "file": "act_{split}.txt", "multilabel": True, "splits": ["train"]}


def _of_actions():
  rows = [f"a|b,{c},{i}.0,{i + 10}.0" for i, c in enumerate("uvw")]
  yield "hvu", {"HVU_Train_V1.0.csv": text("Tags,youtube_id,time_start,time_end", *rows),
                "HVU_Tags_Categories_V1.0.csv": text("Tag,Category", "a,action", "b,object", "c,scene")}, [
                    f"{c}_{i:06d}_{i + 10:06d}.mp4" for i, c in enumerate("uvw")], {"splits": ["train"]}
  yield "charades", {
      "Charades_v1_classes.txt": text("c000 Holding some clothes", "c001 Putting clothes somewhere"),
      "Charades_v1_train.csv": text("id,subject,scene,actions,length", "AB,S,Home,c001 11.90 21.20;c000 0.00 12.60,30",
                                    'CD,T,"Home, sweet",,31')}, ["AB.mp4", "CD.mp4"], {"splits": ["train"]}
  action = lambda i, name: f'item {{\n  name: "{name}"\n  id: {i}\n}}'
  yield "ava", {
      "ava_action_list_v2.2.pbtxt": text(action(1, "stand"), action(3, "talk to"), action(4, "eat")),
      "ava_train_v2.2.csv": text("m1,0902,0.1,0.2,0.5,0.9,1,0", "m1,0902,0.1,0.2,0.5,0.9,3,0",
                                 "m1,0903,0.6,0.2,0.9,0.8,4,1"),
      "ava_val_v2.2.csv": text("m1,0902,0.1,0.2,0.5,0.9,1,0", "m1,0904,0.1,0.2,0.5,0.9,1,0"),
      "ava_val_excluded_timestamps_v2.2.csv": text("m1,0902"),
      "ava_val_predicted_boxes.csv": text("m1,0903,0.1,0.2,0.5,0.9,1,0.95", "m1,0904,0.5,0.2,0.7,0.9,,0.99")}, [
          "videos_15min/m1.mp4"], {}
  rows = [f"a{i}.png,a{i + 1}.png,a{2 - i}.png,{i},{i + 1}" for i in range(2)]
  yield "triplets", {"triplets/train.csv": text("identity,pose,target,clip,pose_clip", *rows)}, [
      f"a{i}.png" for i in range(3)], {"splits": ["train"]}
  crops = [f"a{i}.png,{i // 2},{i % 2},a{3 - i}.png" for i in range(4)]
  yield "triplets", {"triplets/train_crops.csv": text("path,clip,cluster,neighbour", *crops)}, [
      f"a{i}.png" for i in range(4)], {"splits": ["train"], "draws": 4}
  yield "otb2013", {"Deer/groundtruth_rect.txt": text("1,2,4,3", "2\t2\t4\t3", "NaN NaN NaN NaN"),
                    "Deer/attrs.txt": text("FM, BC")}, [f"Deer/img/{i:04d}.jpg" for i in range(1, 4)], {}
  header = {"name": "folder", "classes": ["run", "jump"], "multilabel": False, "categories": {}}
  line = lambda i: {"id": f"v{i}", "label": i % 2, "span": None, "extra": {}, "shard": "a", "index": i}
  yield "array_record", {"records-train.jsonl": text(*(as_json(x).decode() for x in (header, *map(line, range(5)))))}, [
  ], {}


def _of_kitchens():
  columns = ("narration_id,participant_id,video_id,start_timestamp,stop_timestamp,narration,verb,verb_class,noun,"
             "noun_class")
  rows = [f"P01_1_{i},P01,P01_1,00:00:0{i}.10,00:00:0{i}.90,take cup,take,{i % 2},cup,{i % 2}" for i in range(5)]
  yield "epic100", {
      "EPIC_100_verb_classes.csv": text("id,key,instances,category", "0,take,['take'],a", "1,put,['put'],a"),
      "EPIC_100_noun_classes.csv": text("id,key,instances,category", "0,cup,['cup'],a", "1,pan,['pan'],a"),
      "EPIC_100_video_info.csv": text("video_id,duration,fps,resolution", "P01_1,20.5,50,1920x1080"),
      "EPIC_100_train.csv": text(columns, *rows)}, ["P01/videos/P01_1.MP4"], {}
  old = ("uid,participant_id,video_id,narration,start_timestamp,stop_timestamp,start_frame,stop_frame,verb,verb_class,"
         "noun,noun_class,all_nouns,all_noun_classes")
  rows = [f"{i},P01,P01_01,take cup,00:00:0{i}.00,00:00:0{i}.50,{60 * i + 1},{60 * i + 31},take,{i % 2},cup,{i % 2},"
          f"['cup'],[{i % 2}]" for i in range(3)]
  yield "epic55", {
      "EPIC_verb_classes.csv": text("verb_id,class_key,verbs", "0,take,[]", "1,put,[]"),
      "EPIC_noun_classes.csv": text("noun_id,class_key,nouns", "0,cup,[]", "1,pan,[]"),
      "EPIC_train_action_labels.csv": text(old, *rows)}, [
          f"P01/rgb_frames/P01_01/frame_{i:010d}.jpg" for i in (1, 2)], {"splits": ["train"], "participants": 0}
  clip = lambda i: f"P0{i}-R01-Eggs-{1000 * i}-{1000 * i + 900}-F{24 * i}-F{24 * i + 20}"
  yield "egtea", {
      "train_split1.txt": text(f"{clip(1)} 1 2 3", f"{clip(2)} 2 1 5 3"), "test_split1.txt": text(f"{clip(3)} 1 2 3"),
      "noun_idx.txt": text("egg shell 3", "pan 5")}, [f"cropped_clips/{clip(i)}.mp4" for i in (1, 2, 3)], {}
  needed = "narration_id,video_id,narration,start_timestamp,stop_timestamp,verb_class,all_noun_classes"
  rows = [f'P01_{i},P01,"take cup, {i % 2}",00:00:0{i}.0,00:00:0{i}.9,0,[1]' for i in range(3)]
  yield "epic_retrieval", {
      "EPIC_100_retrieval_train.csv": text(needed, *rows),
      "EPIC_100_retrieval_train_sentence.csv": text("narration_id,narration", 'P01_0,"take cup, 0"',
                                                    'P01_1,"take cup, 1"')}, ["P01.mp4"], {
                                                        "splits": ["train"], "media": "video"}


def _of_sentences():
  videos = [f"videos/v{i}.mp4" for i in range(6)]
  said = {"videos": [{"video_id": f"v{i}", "split": ("train", "validate", "test")[i // 2]} for i in range(6)],
          "sentences": [{"sen_id": n, "video_id": f"v{n // 2}", "caption": f"a dog {n}"} for n in range(12)]}
  yield "msrvtt", {"MSRVTT_data.json": as_json(said), "MSRVTT_JSFUSION_test.csv": text(
      "key,vid_key,video_id,sentence", "ret0,msr4,v4,a dog", 'ret1,msr5,v5,"a cat, asleep"')}, videos, {
          "media": "video"}
  yield "activitynet_captions", {"train.json": as_json({"v0": {
      "duration": 9.5, "timestamps": [[4, 9], [0, 3.5]], "sentences": ["He runs.", " He sits. "]}})}, videos, {
          "splits": ["train"], "media": "video"}
  yield "lsmdc", {"LSMDC16_annos_training.csv": text("v0\t1\t2\t3\t4\tHe runs.", "v1\t1\t2\t3\t4\tShe \"sits\".")}, (
      videos), {"splits": ["train"], "media": "video"}
  yield "youcook2", {"training_youcook.csv": text("end,start,task,text,video_id", "9,2,113,cut an onion,v0",
                                                  '20.5,11,113,"fry, then salt",v0')}, videos, {
                                                      "splits": ["train"], "media": "video"}
  yield "texts", {"train.txt": text("A dog runs.", "", "Two cats")}, [], {"splits": ["train"]}


def _of_long_videos():
  def features(*shape):
    return {f"features/v{i}.npy": npy(np.ones(shape, np.float32)) for i in range(3)}

  def only(named, files, beside, **options):
    return named, files, beside, options

  labels = {f"groundTruth/v{i}.txt": _FRAMES for i in range(3)}
  bundles = {f"splits/{name}.split1.bundle": text(*(f"{v}.txt" for v in of))
             for name, of in (("train", ("v0", "v1")), ("test", ("v2",)))}
  lists = {"split1.train": text("v0", "v1"), "split1.test": text("v2")}
  yield only("ms_tcn", {"mapping.txt": _MAPPING, **bundles, **labels, **features(2048, 12)}, [])
  order = {f"transcripts/v{i}.txt": text("SIL", "pour", "stir") for i in range(3)}
  yield only("nn_viterbi", {"mapping.txt": _MAPPING, **lists, **labels, **order, **features(64, 12)}, [])
  numbers = {"labels": np.arange(12) // 4, "transcripts": np.arange(3), "lengths": np.full(3, 4)}
  arrays = {f"{folder}/v{i}.npy": npy(x) for folder, x in numbers.items() for i in range(3)}
  yield only("mucon", {"mapping.txt": _MAPPING, **lists, **arrays, **features(12, 8)}, [])
  spans = text("1-4 SIL", "5-8 pour", "9-12 stir")
  rows = text(*(" ".join(map(str, (t + 1, *([0.25] * 64)))) for t in range(12)))
  yield only("breakfast", {f"segmentation_coarse/milk/{v}.txt": spans for v in ("P03_a", "P16_b")}
             | {f"breakfast_data/s1/milk/{v}.txt": rows for v in ("P03_a", "P16_b")}, [])
  yield only("segments", {"classes.txt": text("SIL", "pour", "stir"), "train.txt": text("v0", "v1"),
                          "val.txt": text("v2"), "labels/v0.txt": spans, "labels/v1.txt": _FRAMES,
                          "labels/v2.npy": npy(np.arange(12) // 4), **features(12, 8)}, [], splits=["train", "val"])


def _of_images():
  images = [{"id": i, "file_name": f"{i}.png", "height": 4, "width": 6} for i in (5, 9)]
  said = [{"id": i, "image_id": (5, 9)[i], "caption": ("A dog on the left side.", "cats")[i]} for i in range(2)]
  tree = "(ROOT (NP (NP (DT a) (NN dog)) (PP (IN on) (NP (DT the) (JJ left) (NN side)))))"
  things = [{"id": 1, "image_id": 5, "category_id": 7, "segmentation": [[0, 0, 3, 0, 3, 4, 0, 4]], "iscrowd": 0},
            {"id": 2, "image_id": 5, "category_id": 7, "segmentation": {"counts": [20, 4], "size": [4, 6]},
             "iscrowd": 1}]
  yield "coco", {
      "annotations/captions_train2014.json": as_json({"images": images, "annotations": said}),
      "annotations/trees_train2014.jsonl": text(as_json({"image_id": 5, "caption_id": 0, "caption": "", "tree": tree}
                                                        ).decode()),
      "annotations/instances_val2014.json": as_json({"images": images, "annotations": things, "categories": [
          {"id": 3, "name": "stop sign"}, {"id": 7, "name": "dog"}]})}, [
              f"{split}2014/{i}.png" for split in ("train", "val") for i in (5, 9)], {"splits": ["train", "val"]}
  region = {"region_id": 1, "phrase": "The Dog!", "x": 30, "y": 5, "width": 60, "height": 10}
  sizes = [{"image_id": 35 + i, "width": 60, "height": 20, "coco_id": i} for i in (5, 9)]
  yield "visual_genome", {
      "annotations/captions_val2014.json": as_json({"images": images}), "image_data.json": as_json(sizes),
      "region_descriptions.json": as_json([{"id": i, "regions": [region]} for i in (40, 44)])}, [
          "val2014/5.png", "val2014/9.png"], {"splits": ["val"]}
  words = ("n01440764", "n01443537")
  yield "imagenet", {
      "LOC_val_solution.csv": text("ImageId,PredictionString", f"ILSVRC2012_val_1,{words[0]} 1 2 3 4 ",
                                   f"ILSVRC2012_val_0,{words[1]} 1 2 3 4 "),
      "LOC_synset_mapping.txt": text(f"{words[1]} goldfish, Carassius auratus", f"{words[0]} tench, Tinca tinca")}, [
          *(f"train/{w}/{w}_{k}.JPEG" for w in words for k in range(2)),
          *(f"val/ILSVRC2012_val_{k}.JPEG" for k in range(2))], {"splits": ["train", "val"]}
  template = "{DATASET}-{SPLIT}.{FILEFORMAT}-{SHARD_X_OF_Y}"
  splits = [{"name": "train", "shardLengths": ["3"], "filepathTemplate": template}]
  features = {"image": {"image": {"dtype": "uint8"}}, "label": {"classLabel": {"numClasses": "2"}}}
  yield "tfds", {
      "dataset_info.json": as_json({"fileFormat": "array_record", "name": "pets", "splits": splits}),
      "features.json": as_json({"featuresDict": {"features": features}}), "label.labels.txt": text("cat", "dog"),
      "pets-train.array_record-00000-of-00001": shard([
          {"image": [b"\xff\xd8"], "label": [i % 2], "file_name": [b"%d.jpg" % i]} for i in range(3)])}, [], {
              "splits": ["train"]}
  thing = lambda name, track: (
      f"<object>{track}<name>{name}</name><bndbox><xmin>3</xmin><xmax>15</xmax><ymin>10</ymin><ymax>30</ymax></bndbox>"
      "<occluded>0</occluded><generated>0</generated></object>")
  size = "<size><width>30</width><height>40</height></size>"
  frame = lambda *things: text(f"<annotation>{size}", *things, "</annotation>")
  a, b = "n02691156", "n02419796"
  yield "imagenet_vid", {
      "ImageSets/VID/train_1.txt": text("a/s1 1"), "ImageSets/VID/val.txt": text("s2/000000 1", "s2/000001 2"),
      **{f"Annotations/VID/train/a/s1/{i:06d}.xml": frame(thing(a, "<trackid>0</trackid>")) for i in range(2)},
      **{f"Annotations/VID/val/s2/{i:06d}.xml": frame(thing(b, "<trackid>1</trackid>")) for i in range(2)}}, [
          f"Data/VID/{of}/{i:06d}.JPEG" for of in ("train/a/s1", "val/s2") for i in range(2)], {
              "splits": ["train", "val"]}
  yield "imagenet_det", {
      "ImageSets/DET/train_1.txt": text("a/0 1", "a/1 1"),
      **{f"Annotations/DET/train/a/{i}.xml": frame(thing(a, ""), thing(b, "")) for i in range(2)}}, [
          f"Data/DET/train/a/{i}.JPEG" for i in range(2)], {"splits": ["train"]}
