"""Tokens: only the issuer's own, for us, in time."""

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from service.errors import NotReady, Unauthenticated
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
