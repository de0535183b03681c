#!/usr/bin/env bash
# Print the path of the grpcurl we test with; --cached: only if it is built.
. "$(dirname "${BASH_SOURCE[0]}")/go_tool.sh"

go_tool grpcurl v1.9.4 github.com/fullstorydev/grpcurl/cmd/grpcurl
