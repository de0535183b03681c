#!/usr/bin/env bash
# Print the path of the kube-score we test with; --cached: only if it is built.
. "$(dirname "${BASH_SOURCE[0]}")/go_tool.sh"

go_tool kube-score v1.20.0 github.com/zegl/kube-score/cmd/kube-score
