#!/usr/bin/env bash
# Print the path of a pinned, real kube-score; build it first if it is not there yet.
#
#   deploy/tools/kube_score.sh            the kube-score we test with
#   deploy/tools/kube_score.sh --cached   only look: prints nothing and exits 1 when it is not built
#
# Built once (about a minute) into ${RCNN_TOOLS:-${XDG_CACHE_HOME:-~/.cache}/rcnn/tools}, outside the project.
set -euo pipefail

version=v1.20.0
folder=${RCNN_TOOLS:-${XDG_CACHE_HOME:-$HOME/.cache}/rcnn/tools}/kube-score-$version

if [[ ! -x $folder/kube-score ]]; then
    if [[ ${1:-} == --cached ]]; then exit 1; fi
    if ! command -v go >/dev/null; then
        echo "kube_score.sh: kube-score $version is built from source and needs Go, which is not on PATH. Install Go." >&2
        exit 1
    fi
    echo "kube_score.sh: building kube-score $version into $folder (once, about a minute)" >&2
    GOBIN=$folder go install "github.com/zegl/kube-score/cmd/kube-score@$version" >&2
fi
echo "$folder/kube-score"
