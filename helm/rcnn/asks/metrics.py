"""Are metrics served, with a model among them, and with the signal that autoscaling needs? Exit code 0: yes."""

import os
import ssl
import sys
import urllib.request

HEADERS = {"Authorization": f"Bearer {os.environ['KEY']}"} if "KEY" in os.environ else {}
# The name in the certificate is for callers outside; here the question is whether anybody answers.
ANY_NAME = ssl._create_unverified_context()

request = urllib.request.Request(os.environ["METRICS"] + "/metrics", headers=HEADERS)
with urllib.request.urlopen(request, timeout=10, context=ANY_NAME) as answer:
    lines = answer.read().decode().splitlines()
for name in ("rcnn_model_info{", "rcnn_queued_work_seconds{"):
    found = [line for line in lines if line.startswith(name)]
    print(*found, sep="\n")
    if not found:
        sys.exit(f"/metrics has no {name[:-1]}")
