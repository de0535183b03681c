#!/usr/bin/env bash
# Print a folder with the clients of the Open Inference Protocol that we test against; bring them first if they are not there yet.
#
#   deploy/tools/oip_clients.sh             triton/bin/python (tritonclient), kserve/bin/python (kserve), perf_analyzer
#   deploy/tools/oip_clients.sh --cached    only look: prints nothing and exits 1 when they are not there
#
# Each has an environment of its own, because their pins exclude ours and each other's (protobuf 4, 6 and 7). Needs uv, and
# apt-get for one library of perf_analyzer, which is unpacked beside it and not installed.
set -euo pipefail

triton=2.49.0 kserve=0.21.0 cudart=12.9.79
folder=${RCNN_TOOLS:-${XDG_CACHE_HOME:-$HOME/.cache}/rcnn/tools}/oip-clients-$triton-$kserve

if [[ ! -f $folder/complete ]]; then
    if [[ ${1:-} == --cached ]]; then exit 1; fi
    uv=$(command -v uv || echo "$(dirname "$0")/../../.uv/bin/uv")
    echo "oip_clients.sh: installing tritonclient $triton and kserve $kserve into $folder (once)" >&2
    mkdir -p "$folder"
    for client in triton kserve; do "$uv" venv --quiet --clear --python 3.11 "$folder/$client"; done
    "$uv" pip install --quiet --python "$folder/triton" "tritonclient[http,grpc]==$triton" "nvidia-cuda-runtime-cu12==$cudart"
    "$uv" pip install --quiet --python "$folder/kserve" "kserve==$kserve"
    # What perf_analyzer, a binary inside the wheel, is linked against beside the system's own libraries.
    (cd "$folder" && apt-get download libb64-0d >&2 && dpkg-deb -x libb64-0d_*.deb libb64)
    cat >"$folder/perf_analyzer" <<END
#!/bin/sh
export LD_LIBRARY_PATH=$(dirname "$(find "$folder/triton" -name libcudart.so.12)"):$(dirname "$(find "$folder/libb64" -name 'libb64.so.0d')")
exec $folder/triton/bin/perf_analyzer "\$@"
END
    chmod +x "$folder/perf_analyzer"
    "$folder/perf_analyzer" --version >&2
    touch "$folder/complete"
fi
echo "$folder"
