#!/usr/bin/env bash
# Generate the Go stubs into rcnnv1/. Needs Go and a protoc: `protoc`, or PROTOC="python -m grpc_tools.protoc".
set -euo pipefail
cd "$(dirname "$0")"
proto=${1:-../../../service/api/grpc/proto}
tools=$(mktemp -d)
trap 'rm -rf "$tools"' EXIT
GOBIN=$tools go install google.golang.org/protobuf/cmd/protoc-gen-go google.golang.org/grpc/cmd/protoc-gen-go-grpc
for plugin in go go-grpc; do
    options+=("--plugin=protoc-gen-$plugin=$tools/protoc-gen-$plugin" "--${plugin}_out=rcnnv1"
        "--${plugin}_opt=paths=source_relative" "--${plugin}_opt=Mdetection.proto=example.com/rcnn-client/rcnnv1")
done
mkdir -p rcnnv1
${PROTOC:-protoc} -I "$proto" "${options[@]}" detection.proto
