"""Detect with requests: python python_requests.py http://localhost:8000 image.png"""

import sys

import requests
from requests.adapters import HTTPAdapter
from urllib3.util import Retry

url, path = sys.argv[1:]
# 429 and 503 come with Retry-After, which Retry honours by itself.
retry = Retry(total=5, backoff_factor=0.2, status_forcelist=(429, 503), allowed_methods=None)

with requests.Session() as session, open(path, "rb") as image:
    session.mount(url, HTTPAdapter(max_retries=retry))
    options = {"score_threshold": 0.5}
    headers = {"X-Request-Timeout-Ms": "30000"}
    response = session.post(f"{url}/v1/detect", params=options, headers=headers, data=image.read(), timeout=30)
    if not response.ok:
        sys.exit(response.json()["detail"])  # RFC 9457: says what is wrong and what was expected

for found in response.json()["detections"]:
    print(found["label"], round(found["score"], 3), *(round(v, 1) for v in found["box"]))
