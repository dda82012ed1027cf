#!/bin/sh
# Runs each part of this pack under a time limit of its own, and leaves CSV files and a log in $OUT. `sh run.sh --help` tells the rest.
here=$(cd "$(dirname "$0")" && pwd)
if ! command -v python3 >/dev/null; then
    echo "error: python3 is not on the path; the pack needs the Python that has PyTorch" >&2
    exit 1
fi
exec python3 -B "$here/run.py" "$@"
