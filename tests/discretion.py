"""What a service's log must never hold: pictures, keys and tokens, and where on the machine things lie."""

import json
import re

_SECRETS = {
    "image bytes": re.compile(r"PNG\\r|PNG\r|JFIF|\\u0089PNG|\\x89PNG|RIFF.{4,16}WEBP"),
    "an image in base64": re.compile(r"iVBORw0KGgo|/9j/[A-Za-z0-9+/]{8}|[A-Za-z0-9+/]{400}"),
    "an API key": re.compile(r"\b[a-z0-9-]+\.[A-Za-z0-9_-]{43}\b"),
    "a token": re.compile(r"eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}"),
    "a credential's header": re.compile(r"bearer\s+\S|x-api-key\W+\S", re.IGNORECASE),
}


def leaks(log: str, folders: list[str]) -> list[str]:
    """A sentence for each line that tells too much; folders: places nobody but the operator should read of."""
    found = []
    for line in log.splitlines():
        found += [f"{what}: {line:.300}" for what, pattern in _SECRETS.items() if pattern.search(line)]
        found += [f"a path: {line:.300}" for folder in folders if folder in _without_traceback(line)]
    return found


def _without_traceback(line: str) -> str:
    """A traceback names the program's own files, and that is what it is for."""
    try:
        parsed = json.loads(line)
    except ValueError:
        return line
    return json.dumps({name: value for name, value in parsed.items() if name != "exception"})
