"""Is the Service ready, and does it serve a model? Exit code 0: yes."""

import json
import os
import sys
import urllib.request


def ask(path):
    with urllib.request.urlopen(os.environ["HTTP"] + path, timeout=10) as answer:
        body = answer.read().decode()
        print(answer.status, path, body)
        return body


ask("/readyz")
models = json.loads(ask("/v1/models"))["models"]
sys.exit(0 if models else "ready, but /v1/models names no model")
