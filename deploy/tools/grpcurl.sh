#!/usr/bin/env bash
# Print the path of a pinned, real grpcurl; build it first if it is not there yet.
#
#   deploy/tools/grpcurl.sh            the grpcurl we test with
#   deploy/tools/grpcurl.sh --cached   only look: prints nothing and exits 1 when it is not built
#
# Built once (about a minute) into ${RCNN_TOOLS:-${XDG_CACHE_HOME:-~/.cache}/rcnn/tools}, outside the project.
set -euo pipefail

version=v1.9.4
folder=${RCNN_TOOLS:-${XDG_CACHE_HOME:-$HOME/.cache}/rcnn/tools}/grpcurl-$version

if [[ ! -x $folder/grpcurl ]]; then
    if [[ ${1:-} == --cached ]]; then exit 1; fi
    if ! command -v go >/dev/null; then
        echo "grpcurl.sh: grpcurl $version is built from source and needs Go, which is not on PATH. Install Go, or put a grpcurl on PATH." >&2
        exit 1
    fi
    echo "grpcurl.sh: building grpcurl $version into $folder (once, about a minute)" >&2
    GOBIN=$folder go install "github.com/fullstorydev/grpcurl/cmd/grpcurl@$version" >&2
fi
echo "$folder/grpcurl"
