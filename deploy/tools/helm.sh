#!/usr/bin/env bash
# Print the path of a pinned, real helm; build it first if it is not there yet.
#
#   deploy/tools/helm.sh                 the helm we test with
#   deploy/tools/helm.sh v3.21.4         another one: the chart promises to work with helm 3 too
#   deploy/tools/helm.sh --cached [...]  only look: prints nothing and exits 1 when it is not built
#
# Built once (1-3 minutes) into ${RCNN_TOOLS:-${XDG_CACHE_HOME:-~/.cache}/rcnn/tools}, outside the project.
set -euo pipefail

only_look=false
if [[ ${1:-} == --cached ]]; then only_look=true; shift; fi
version=${1:-v4.2.4}
major=${version%%.*}
folder=${RCNN_TOOLS:-${XDG_CACHE_HOME:-$HOME/.cache}/rcnn/tools}/helm-$version

if [[ ! -x $folder/helm ]]; then
    if $only_look; then exit 1; fi
    if ! command -v go >/dev/null; then
        echo "helm.sh: helm $version is built from source and needs Go 1.26 or newer, which is not on PATH. Install Go, or put a helm on PATH: the chart's tests take that one." >&2
        exit 1
    fi
    echo "helm.sh: building helm $version into $folder (once, 1-3 minutes)" >&2
    module=helm.sh/helm/$major
    # Unless told by its linker flags, helm 3 takes itself for one of Kubernetes 1.20 and refuses a chart with a newer kubeVersion.
    GOBIN=$folder go install -ldflags "
        -X $module/internal/version.version=$version
        -X $module/pkg/chartutil.k8sVersionMajor=1 -X $module/pkg/chartutil.k8sVersionMinor=36
        -X $module/pkg/lint/rules.k8sVersionMajor=1 -X $module/pkg/lint/rules.k8sVersionMinor=36
    " "$module/cmd/helm@$version" >&2
fi
echo "$folder/helm"
