"""Are metrics served, with a model among them, and with the signal that autoscaling needs? Exit code 0: yes."""

import os
import sys
import urllib.request

with urllib.request.urlopen(os.environ["METRICS"] + "/metrics", timeout=10) as answer:
    lines = answer.read().decode().splitlines()
for name in ("rcnn_model_info{", "rcnn_queued_work_seconds{"):
    found = [line for line in lines if line.startswith(name)]
    print(*found, sep="\n")
    if not found:
        sys.exit(f"/metrics has no {name[:-1]}")
