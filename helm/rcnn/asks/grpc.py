"""Does gRPC health call the service SERVING, and does the default model look at a picture? Exit code 0: yes."""

import os
import sys
from pathlib import Path

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from service.api.grpc.proto import detection_pb2, detection_pb2_grpc

KEY = [("authorization", f"Bearer {os.environ['KEY']}")] if "KEY" in os.environ else []

picture = next(path for path in sorted(Path("/app/model/zoo").glob("*/*/golden/*")) if path.suffix in (".jpg", ".png"))
with grpc.insecure_channel(os.environ["GRPC"]) as channel:
    health = health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(), timeout=10)
    print(health_pb2.HealthCheckResponse.ServingStatus.Name(health.status))
    if health.status != health_pb2.HealthCheckResponse.SERVING:
        sys.exit("gRPC answers, but not SERVING")
    request = detection_pb2.DetectRequest(image=picture.read_bytes())
    answer = detection_pb2_grpc.DetectionServiceStub(channel).Detect(request, timeout=60, metadata=KEY)
print(picture.name, answer.model.name, len(answer.detections), "objects")
