#!/usr/bin/env bash
# Print the path of the helm we test with; --cached: only if it is built.
#
#   deploy/tools/helm.sh [--cached] [v3.21.4]    another version: the chart promises to work with helm 3 too
. "$(dirname "${BASH_SOURCE[0]}")/go_tool.sh"

version=${1:-v4.2.4}
module=helm.sh/helm/${version%%.*}
# Unless told by its linker flags, helm 3 takes itself for one of Kubernetes 1.20 and refuses a chart with a newer kubeVersion.
go_tool helm "$version" "$module/cmd/helm" -ldflags "
    -X $module/internal/version.version=$version
    -X $module/pkg/chartutil.k8sVersionMajor=1 -X $module/pkg/chartutil.k8sVersionMinor=36
    -X $module/pkg/lint/rules.k8sVersionMajor=1 -X $module/pkg/lint/rules.k8sVersionMinor=36
"
