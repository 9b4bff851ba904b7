#!/usr/bin/env bash
# Makes what the tests labelled interop compare with: a virtual environment in build/venv.
set -euo pipefail
cd "$(dirname "$0")/.."

if [[ ! -x build/venv/bin/python ]]; then
  python3 -m venv build/venv || {
    echo 'interop.sh: error: python3 cannot make a virtual environment; install python3-venv' >&2
    exit 1
  }
fi
build/venv/bin/pip install --quiet numpy
cmake --preset cpu -DGDA_PYTHON="$PWD/build/venv/bin/python" > /dev/null
