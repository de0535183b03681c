"""Detect with tritonclient over gRPC: python tritonclient_grpc.py localhost:8001 nuclei image.png"""

import sys
from pathlib import Path

import numpy as np
import tritonclient.grpc as triton

address, model, path = sys.argv[1:]
image = triton.InferInput("image", [1], "BYTES")
image.set_data_from_numpy(np.array([Path(path).read_bytes()], object))
outputs = [triton.InferRequestedOutput(name) for name in ("boxes", "scores", "labels")]

with triton.InferenceServerClient(address) as client:
    result = client.infer(model, [image], outputs=outputs, parameters={"score_threshold": 0.5})

boxes, scores, labels = (result.as_numpy(name)[0] for name in ("boxes", "scores", "labels"))
for box, score, label in zip(boxes, scores, labels, strict=True):
    print(label, round(float(score), 3), *box.round(1).tolist())  # label 1 is the model's first
