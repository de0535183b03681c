"""The guard of one process, from what the settings say."""

from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from service.security.allowance import Rate
from service.security.api_keys import KeyFile
from service.security.guard import Guard
from service.security.token_keys import FileKeys, RemoteKeys, TokenKeys
from service.security.tokens import TokenVerifier
from service.security.watched import FileUnusable


@dataclass(frozen=True)
class Sources:
    """None: not asked for. token_keys: a file, or an https address."""

    api_keys: Path | None
    token_keys: str | None
    token_issuer: str | None
    token_audience: str | None
    rate: Rate


def create_guard(sources: Sources) -> Guard:
    """Raises FileUnusable."""
    keys = KeyFile(sources.api_keys, sources.rate) if sources.api_keys else None
    tokens = None
    if sources.token_keys and sources.token_issuer and sources.token_audience:
        tokens = TokenVerifier(_token_keys(sources.token_keys), sources.token_issuer, sources.token_audience)
    return Guard(keys, tokens, sources.rate)


def _token_keys(where: str) -> TokenKeys:
    address = urlsplit(where)
    if address.scheme == "https" or (
        address.scheme == "http" and address.hostname in ("localhost", "127.0.0.1", "::1")
    ):
        return RemoteKeys(where)
    if address.scheme == "http":
        raise FileUnusable(f"{where}: whoever is on the way could put keys of their own there; use https")
    return FileKeys(Path(where))
