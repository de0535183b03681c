"""
Detect over gRPC: python grpc_python.py localhost:8001 image.png

The stubs beside it are generated from service/api/grpc/proto/detection.proto (pip install grpcio grpcio-tools):

    python -m grpc_tools.protoc -I PROTO_FOLDER --python_out=. --grpc_python_out=. detection.proto
"""

import sys
from pathlib import Path

import detection_pb2 as pb
import detection_pb2_grpc
import grpc

address, path = sys.argv[1:]
request = pb.DetectRequest(image=Path(path).read_bytes(), options=pb.DetectOptions(score_threshold=0.5))

with grpc.insecure_channel(address) as channel:
    try:
        # The call's deadline is the request's deadline; wait_for_ready: a service that is starting is waited for.
        service = detection_pb2_grpc.DetectionServiceStub(channel)
        answer = service.Detect(request, timeout=30, wait_for_ready=True)
    except grpc.RpcError as error:
        sys.exit(f"{error.code().name}: {error.details()}")

for found in answer.detections:
    box = found.box
    print(found.label, round(found.score, 3), *(round(v, 1) for v in (box.x1, box.y1, box.x2, box.y2)))
