#!/bin/sh
# Installs what a node needs to run Stridelab's jobs; the jobs bring Stridelab itself.
# Usage, in the folder that holds pyproject.toml and constraints.txt: sh install.sh cpu|gpu
set -eu
case "${1:-}" in
cpu)
  # PyPI's torch brings gigabytes of CUDA libraries.
  torch=$(grep '^torch==' constraints.txt)
  set -- --extra-index-url https://download.pytorch.org/whl/cpu "$torch+cpu"
  ;;
gpu) set -- ;;
*)
  echo "usage: sh install.sh cpu|gpu" >&2
  exit 2
  ;;
esac
requirements=$(mktemp)
python -c 'import tomllib
project = tomllib.load(open("pyproject.toml", "rb"))["project"]
print(*project["dependencies"], sep="\n")' >"$requirements"
pip install --no-cache-dir --constraint constraints.txt --requirement "$requirements" "$@"
rm "$requirements"
