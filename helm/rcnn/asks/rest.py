"""Is the Service ready, and does it serve a model? Exit code 0: yes."""

import json
import os
import ssl
import sys
import urllib.request

HEADERS = {"Authorization": f"Bearer {os.environ['KEY']}"} if "KEY" in os.environ else {}
# The name in the certificate is for callers outside; here the question is whether anybody answers.
ANY_NAME = ssl._create_unverified_context()


def ask(path):
    request = urllib.request.Request(os.environ["HTTP"] + path, headers=HEADERS)
    with urllib.request.urlopen(request, timeout=10, context=ANY_NAME) as answer:
        body = answer.read().decode()
        print(answer.status, path, body)
        return body


ask("/readyz")
models = json.loads(ask("/v1/models"))["models"]
sys.exit(0 if models else "ready, but /v1/models names no model")
