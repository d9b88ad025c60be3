#!/usr/bin/env bash
# Runs the tests in an environment of their own making.
#
#   bash launch/test.sh [--parity] [pytest arguments]
#
# --parity also compares with the PyTorch originals (tests/parity; installs torch).
# VIDX_REAL_DATA=FOLDER adds the checks on real videos. Works from any directory.

set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

if [[ "${1:-}" == --parity ]]; then
  shift
  install_vidx tests,parity
  # Only the model definitions of these are used: without their dependencies, whose
  # bounds would pull in other builds of torch.
  "$venv/bin/python" -m pip install -qq --disable-pip-version-check --no-deps torchvision==0.28.0 \
    timm pytorchvideo fvcore iopath portalocker parameterized yacs tabulate
else
  install_vidx tests
  set -- --ignore=tests/parity "$@"
fi

cd "$root"
say "running the tests"
"$venv/bin/python" -m pytest -q -n "${VIDX_TEST_PROCESSES:-2}" "$@"
