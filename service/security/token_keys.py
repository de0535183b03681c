"""The public keys tokens are signed with: a JWKS (RFC 7517) in a file or behind an address, read anew as it changes."""

import asyncio
import time
from pathlib import Path
from typing import Protocol

import httpx
import jwt
import structlog

from service.errors import NotReady
from service.security.watched import FileUnusable, Watched

# Public keys only: with a shared secret (HS256), whoever checks a token could also make one.
ALGORITHMS = frozenset({"RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"})
_REFRESH_S, _LEAST_S = 300.0, 10.0  # keys change rarely; made-up key ids must not make us ask the issuer without end
_MOST_BYTES = 1_000_000
_log = structlog.get_logger("security")

Keys = dict[str | None, jwt.PyJWK]


class TokenKeys(Protocol):
    """Where keys come from."""

    def now(self) -> Keys:
        """Keys by their id, None for one without. Raises NotReady while there are none yet."""
        ...

    def look_again(self) -> None:
        """A key was asked for that is not here: it may be new."""
        ...

    async def keep_fresh(self) -> None:
        """Follow the keys until cancelled, where that needs following."""
        ...


class FileKeys:
    """A file's keys. Raises FileUnusable."""

    def __init__(self, path: Path) -> None:
        self._keys = Watched([path], lambda: _read(path), every_s=1.0)

    def now(self) -> Keys:
        return self._keys.now()

    def look_again(self) -> None:
        """Every second anyway."""

    async def keep_fresh(self) -> None:
        """A look at the file needs no task."""


class RemoteKeys:
    """The keys behind an address. What was fetched last holds while the issuer does not answer."""

    def __init__(self, url: str) -> None:
        self._url, self._keys, self._wanted = url, Keys(), asyncio.Event()

    def now(self) -> Keys:
        if not self._keys:
            error = NotReady("The token issuer's keys have not been read yet; try again shortly.")
            error.retry_after_s = 1.0
            raise error
        return self._keys

    def look_again(self) -> None:
        self._wanted.set()

    async def keep_fresh(self) -> None:
        """Fetch now, then every few minutes, sooner where a key is missed. Ends when cancelled."""
        async with httpx.AsyncClient(timeout=10.0, follow_redirects=False) as client:
            while True:
                start_s = time.monotonic()
                await self._fetch(client)
                self._wanted.clear()
                wait_s = _REFRESH_S if self._keys else 1.0
                try:
                    await asyncio.wait_for(self._wanted.wait(), wait_s)
                    await asyncio.sleep(max(0.0, _LEAST_S - (time.monotonic() - start_s)))
                except TimeoutError:
                    pass

    async def _fetch(self, client: httpx.AsyncClient) -> None:
        try:
            async with client.stream("GET", self._url) as answer:
                answer.raise_for_status()
                body = bytearray()
                async for piece in answer.aiter_bytes():
                    body += piece
                    if len(body) > _MOST_BYTES:
                        raise ValueError(f"more than {_MOST_BYTES} bytes")
            self._keys = _parse(body.decode())
        except (httpx.HTTPError, ValueError) as error:
            _log.error("token keys not fetched, the old ones hold", reason=f"{type(error).__name__}: {error}")


def _read(path: Path) -> Keys:
    try:
        return _parse(path.read_text())
    except OSError as error:
        raise FileUnusable(f"cannot read {path.name}: {error.strerror}") from None
    except ValueError as error:
        raise FileUnusable(f"{path.name}: {error}") from None


def _parse(document: str) -> Keys:
    """The keys that sign and that we accept. Raises ValueError if there is none."""
    try:
        found = jwt.PyJWKSet.from_json(document).keys
    except (jwt.PyJWTError, AttributeError, TypeError) as error:
        raise ValueError(f"not a JWKS: {error}") from None
    keys = {
        key.key_id: key for key in found if key.algorithm_name in ALGORITHMS and key.public_key_use in (None, "sig")
    }
    if not keys:
        raise ValueError(f"the JWKS has no key for {', '.join(sorted(ALGORITHMS))}")
    return keys
