"""Objects of videos without labels: a ranked list of tubes, one box a frame, with masks.

Xiao: "Multimodal Learning with Minimal Human Supervision from Videos and Natural Language",
2020, chapter 2. Nothing is trained but detectors of single videos. One file per step:

  settings.py    what can be chosen
  stages.py      what is kept on disk, and when it is made anew
  motion.py      frames and flow
  candidates.py  edges of frames and of flow, boxes, objectness
  regions.py     features of boxes
  growing.py     detectors that grow over the video
  tubes.py       clusters to tubes
  masks.py       tubes to masks
  propose.py     a video from its file to its tubes
  compare.py     tubes against the annotation of a data set
"""
