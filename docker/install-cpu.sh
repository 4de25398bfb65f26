#!/usr/bin/env bash
# alignkit in a new environment, with the versions of constraints.txt: docker/install-cpu.sh FOLDER [EXTRAS]
# The Makefile sets itself up with it and the CPU image is made with it, so that every run of the tests tries it.
# pip takes torch from the index that it is configured for; one with CPU builds saves gigabytes.
set -euo pipefail
cd "$(dirname "$0")/.."
folder=$1
extras=${2:+[$2]}

"${PYTHON:-python3}" -m venv "$folder"
install() {
    "$folder/bin/python" -m pip --disable-pip-version-check --quiet install --constraint constraints.txt "$@"
}
install torch
install --editable ".$extras"
