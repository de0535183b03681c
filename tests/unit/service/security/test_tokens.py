"""Tokens: only the issuer's own, for us, in time."""

import asyncio
import json
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from service.errors import NotReady, Unauthenticated
from service.security import token_keys
from service.security.allowance import Rate
from service.security.setup import Sources, create_guard
from service.security.token_keys import FileKeys, RemoteKeys
from service.security.tokens import TokenVerifier
from service.security.watched import FileUnusable

RSA, OTHER, EC = (
    rsa.generate_private_key(65537, 2048),
    rsa.generate_private_key(65537, 2048),
    ec.generate_private_key(ec.SECP256R1()),
)
ISSUER, AUDIENCE = "https://issuer.example", "rcnn"


def jwks() -> str:
    first = jwt.algorithms.RSAAlgorithm.to_jwk(RSA.public_key(), as_dict=True) | {"kid": "one", "alg": "RS256"}
    second = jwt.algorithms.ECAlgorithm.to_jwk(EC.public_key(), as_dict=True) | {"kid": "two", "use": "sig"}
    return json.dumps({"keys": [first, second]})


def token(key: Any = RSA, alg: str = "RS256", kid: str | None = "one", **claims: Any) -> str:
    base = {"iss": ISSUER, "aud": AUDIENCE, "sub": "line-a", "exp": time.time() + 60, "scope": "detect openid"}
    said = {name: value for name, value in (base | claims).items() if value is not None}
    return jwt.encode(said, key, alg, headers={"kid": kid} if kid else None)


@pytest.fixture
def verifier(tmp_path: Path) -> TokenVerifier:
    path = tmp_path / "jwks.json"
    path.write_text(jwks())
    return TokenVerifier(FileKeys(path), ISSUER, AUDIENCE)


@pytest.mark.parametrize(
    ("make", "scopes"),
    [
        pytest.param(lambda: token(), {"detect"}, id="RSA"),
        pytest.param(lambda: token(EC, "ES256", "two", scope="admin metrics"), {"admin", "metrics"}, id="EC"),
        pytest.param(lambda: token(scope=None, scp=["admin", "other"]), {"admin"}, id="scp"),
        pytest.param(lambda: token(scope=None), set(), id="no scope"),
        pytest.param(lambda: token(exp=time.time() - 5), {"detect"}, id="clocks differ"),
    ],
)
def test_a_good_token_says_who_and_what(verifier: TokenVerifier, make: Callable[[], str], scopes: set[str]) -> None:
    """Scopes of other services are passed over; asked twice, the answer is the same."""
    sent = make()
    for _ in range(2):
        found = verifier.verify(sent, time.time())
        assert found.subject == "line-a" and found.scopes == scopes


def forged_with_our_public_key() -> str:
    """HS256 with the public key as the secret: the classic confusion of algorithms."""
    import base64
    import hashlib
    import hmac

    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    def part(content: bytes) -> str:
        return base64.urlsafe_b64encode(content).rstrip(b"=").decode()

    secret = RSA.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    claims = {"iss": ISSUER, "aud": AUDIENCE, "sub": "me", "exp": time.time() + 60, "scope": "admin"}
    body = part(b'{"alg":"HS256","typ":"JWT","kid":"one"}') + "." + part(json.dumps(claims).encode())
    return body + "." + part(hmac.digest(secret, body.encode(), hashlib.sha256))


@pytest.mark.parametrize(
    ("make", "words"),
    [
        pytest.param(lambda: token(exp=time.time() - 60), "expired", id="expired"),
        pytest.param(lambda: token(nbf=time.time() + 90), "not yet valid", id="too early"),
        pytest.param(lambda: token(aud="another"), "[Aa]udience", id="for another"),
        pytest.param(lambda: token(iss="https://elsewhere"), "[Ii]ssuer", id="by another"),
        pytest.param(lambda: token(exp=None), "exp", id="never expires"),
        pytest.param(lambda: token(sub=None), "sub", id="nobody"),
        pytest.param(lambda: token(sub="x" * 200), "subject", id="a long subject"),
        pytest.param(lambda: token(OTHER), "Signature", id="another's signature"),
        pytest.param(lambda: token(kid="three"), "does not list", id="an unknown key"),
        pytest.param(lambda: token(kid=None), "does not list", id="no key named, of two"),
        pytest.param(lambda: token(None, "none"), "not valid", id="unsigned"),
        pytest.param(forged_with_our_public_key, "not valid", id="algorithms confused"),
        pytest.param(lambda: token()[:-4], "not valid", id="cut short"),
        pytest.param(lambda: "a.b.c", "not valid", id="no token"),
        pytest.param(lambda: token(extra="x" * 9000), "characters", id="too long"),
    ],
)
def test_anything_else_is_refused_with_the_reason(verifier: TokenVerifier, make: Callable[[], str], words: str) -> None:
    """What its owner has to know to get a better one."""
    with pytest.raises(Unauthenticated, match=words):
        verifier.verify(make(), time.time())


def test_a_remembered_token_still_expires(verifier: TokenVerifier) -> None:
    """What was checked once is not good for ever."""
    sent = token()
    verifier.verify(sent, time.time())
    with pytest.raises(Unauthenticated, match="expired"):
        verifier.verify(sent, time.time() + 100)


@pytest.mark.parametrize("text", ["", "[]", '{"keys": []}', '{"keys": [{"kty": "oct", "k": "c2VjcmV0"}]}'])
def test_a_jwks_without_a_usable_key_is_refused(tmp_path: Path, text: str) -> None:
    """Shared secrets among them: whoever checks could then sign."""
    path = tmp_path / "jwks.json"
    path.write_text(text)
    with pytest.raises(FileUnusable, match=r"jwks\.json"):
        FileKeys(path)


def test_before_the_issuer_answered_callers_are_told_to_wait() -> None:
    """503, not 401: their token may be as good as any."""
    with pytest.raises(NotReady):
        TokenVerifier(RemoteKeys("https://issuer.example/jwks"), ISSUER, AUDIENCE).verify(token(), time.time())


@pytest.fixture
def issuer() -> Iterator[dict[str, Any]]:
    """A real HTTP server with a JWKS, whose answer the test may change: body, status, and how often it was asked."""
    state: dict[str, Any] = {"body": jwks(), "status": 200, "asked": 0}

    class Answer(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            state["asked"] += 1
            self.send_response(state["status"])
            self.end_headers()
            self.wfile.write(state["body"].encode())

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Answer) as server:
        state["url"] = f"http://127.0.0.1:{server.server_port}/jwks"
        serving = threading.Thread(target=server.serve_forever, args=(0.01,))
        serving.start()
        yield state
        server.shutdown()
        serving.join()


async def test_keys_behind_an_address_are_followed(issuer: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """Fetched at once; a missing key makes us look again; while the issuer fails, what was fetched holds."""
    monkeypatch.setattr(token_keys, "_LEAST_S", 0.0)
    whole, issuer["body"] = issuer["body"], json.dumps({"keys": json.loads(issuer["body"])["keys"][:1]})
    keys = RemoteKeys(issuer["url"])
    verifier = TokenVerifier(keys, ISSUER, AUDIENCE)
    following = asyncio.create_task(verifier.keep_fresh())
    new = token(EC, "ES256", "two")

    async def accepted(sent: str) -> None:
        async with asyncio.timeout(20):
            while True:
                try:
                    assert verifier.verify(sent, time.time()).subject == "line-a"
                    return
                except (NotReady, Unauthenticated):
                    await asyncio.sleep(0.01)

    await accepted(token())
    with pytest.raises(Unauthenticated, match="does not list"):
        verifier.verify(new, time.time())
    issuer["body"] = whole
    await accepted(new)
    issuer["status"], asked = 500, issuer["asked"]
    keys.look_again()
    async with asyncio.timeout(20):
        while issuer["asked"] == asked:
            await asyncio.sleep(0.01)
    await accepted(new)
    following.cancel()


@pytest.mark.parametrize("where", ["http://issuer.example/jwks", "none.json"])
def test_keys_are_not_fetched_in_the_clear(tmp_path: Path, where: str) -> None:
    """Nor is a missing file passed over."""
    with pytest.raises(FileUnusable):
        create_guard(Sources(None, where, ISSUER, AUDIENCE, Rate()))
