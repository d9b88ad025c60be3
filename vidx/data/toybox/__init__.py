"""Toybox: a small rendered world, written as real video files with annotations in public formats.

How it is made, one file per step:

  world.py    what there is: a scene of a background, objects with trajectories, a camera
  labels.py   label sets: from a class and randomness to a scene
  kitchen.py  the label set of long videos, with the actions of every frame, and features of frames
  hands.py    the label set of verbs and nouns, with boxes and detections
  sentences.py  the label set of captions, with what experts see
  tracks.py   the label set of things with boxes, some of them blurred or occluded
  acts.py     the label set of people, each doing something, in boxes
  turntable.py  the label set of identity and pose: boxes that turn, as images
  render.py   a scene as frames, and as sound
  write.py    frames and sound as an mp4 file, or frames as images
  layouts.py  annotations as a folder, a csv, UCF101 lists, HVU and EPIC-KITCHENS csv, MSR-VTT json, ImageNet VID, AVA,
              frame labels and transcripts, or clips of images

Everything follows from (seed, split, position), so any video can be made alone
and twice the same. A new label set is a function in labels.py and a row in its
table; a new kind of annotation is a function in layouts.py.
"""

from vidx.data.toybox.build import build
from vidx.data.toybox.labels import LABEL_SETS, classes_of, scene_of
from vidx.data.toybox.render import render, sound

__all__ = ["LABEL_SETS", "build", "classes_of", "render", "scene_of", "sound"]
