"""
Does the default model look at a picture? Exit code 0: yes.

The picture is a golden one from the image. The default model need not know what is on it, unless it is the one that
picture is golden for: then it must find something.
"""

import json
import os
import sys
import urllib.request
from pathlib import Path

MEDIA_TYPES = {".jpg": "image/jpeg", ".png": "image/png"}

picture = next(path for path in sorted(Path("/app/model/zoo").glob("*/*/golden/*")) if path.suffix in MEDIA_TYPES)
maker = picture.parts[-4]
request = urllib.request.Request(
    os.environ["HTTP"] + "/v1/detect", picture.read_bytes(), {"Content-Type": MEDIA_TYPES[picture.suffix]}
)
with urllib.request.urlopen(request, timeout=60) as response:
    answer = json.loads(response.read())
print(picture.name, answer["model"], len(answer["detections"]), "objects", answer["timings_ms"])
if answer["model"]["name"] == maker and not answer["detections"]:
    sys.exit(f"{maker} finds nothing in its own golden picture")
