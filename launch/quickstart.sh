#!/usr/bin/env bash
# From nothing to a trained, evaluated and used model on rendered videos.
#
#   bash launch/quickstart.sh
#
# Needs python3 (3.11 or later) and works from any directory. A second call goes
# on where the first one stopped.

set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

install_vidx
cd "$root"
vidx="$venv/bin/vidx"
data=runs/toybox/motion
run=runs/quickstart

say "1/5 rendering Toybox videos into $data: 8 classes that only motion tells apart"
"$vidx" data toybox --out="$data" --labels=motion

say "2/5 training a small TSM in $run"
"$vidx" train --config=configs/toybox/tsm.py --config.data.root="$data" --workdir="$run"

say "3/5 evaluating it, every validation video once"
"$vidx" eval --workdir="$run" --split=val

say "4/5 predicting a few validation videos"
clips=()
while IFS= read -r clip; do clips+=("$clip"); done < <("$venv/bin/python" - "$data" <<'PY'
import sys
from vidx.data import datasets
records = datasets.load("folder", sys.argv[1], "val").records
print("\n".join(r.media.path for r in records[::max(1, len(records) // 6)][:6]))
PY
)
"$vidx" predict --workdir="$run" --top=2 "${clips[@]}"

say "5/5 writing the report"
"$vidx" report --workdir="$run"

cat <<END

== done. What to do next, in $root:

  source .venv/bin/activate
  open $run/report.html in a browser

Your own videos, in one folder per class:

  vidx data check --root=/path/to/videos
  vidx train --config=folder/tsm_small --config.data.root=/path/to/videos --workdir=runs/mine
  vidx eval --workdir=runs/mine
  vidx predict --workdir=runs/mine /path/to/new/*.mp4
END
