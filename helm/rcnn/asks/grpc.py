"""Does gRPC health call the service SERVING, and does reflection name its door? Exit code 0: yes."""

import os
import sys

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase

with grpc.insecure_channel(os.environ["GRPC"]) as channel:
    health = health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(), timeout=10)
    doors = set(ProtoReflectionDescriptorDatabase(channel).get_services())
print(health_pb2.HealthCheckResponse.ServingStatus.Name(health.status), *sorted(doors))
if health.status != health_pb2.HealthCheckResponse.SERVING:
    sys.exit("gRPC answers, but not SERVING")
sys.exit(0 if "rcnn.v1.DetectionService" in doors else "gRPC serves, but not rcnn.v1.DetectionService")
