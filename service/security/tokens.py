"""
Tokens of an OpenID provider: a JWT (RFC 7519) signed with a key of its JWKS, for us, not expired.

Checked as RFC 8725 asks: the algorithm is the key's, never the token's choice; issuer and audience must be ours.
"""

import hashlib
from collections import OrderedDict
from dataclasses import dataclass
from typing import Any

import jwt

from service.errors import Unauthenticated
from service.security.caller import SCOPES, Scope
from service.security.token_keys import Keys, TokenKeys

_LEEWAY_S = 30  # clocks differ
_MOST_CHARACTERS, _MOST_SUBJECT = 8_192, 128
_MOST_REMEMBERED = 1_024


@dataclass(frozen=True)
class Token:
    """What a valid token says. expires_s: seconds since 1970."""

    subject: str
    scopes: frozenset[Scope]
    expires_s: float


class TokenVerifier:
    """Remembers the tokens it has checked until they expire or the keys change: a signature costs more than a hash."""

    def __init__(self, keys: TokenKeys, issuer: str, audience: str) -> None:
        self._keys, self._issuer, self._audience = keys, issuer, audience
        self._checked: OrderedDict[bytes, Token] = OrderedDict()
        self._checked_with: Keys | None = None

    def verify(self, token: str, now_s: float) -> Token:
        """now_s: seconds since 1970. Raises Unauthenticated with the reason, or NotReady while there are no keys."""
        if len(token) > _MOST_CHARACTERS:
            raise Unauthenticated(f"The token has more than {_MOST_CHARACTERS} characters.")
        keys = self._keys.now()
        if keys is not self._checked_with:
            self._checked.clear()
            self._checked_with = keys
        name = hashlib.sha256(token.encode()).digest()
        found = self._checked.get(name)
        if found is not None and now_s > found.expires_s + _LEEWAY_S:
            raise Unauthenticated("The token has expired.")
        if found is None:
            found = self._checked[name] = self._check(token, keys)
            if len(self._checked) > _MOST_REMEMBERED:
                self._checked.popitem(last=False)
        return found

    async def keep_fresh(self) -> None:
        """Follow the issuer's keys until cancelled."""
        await self._keys.keep_fresh()

    def _check(self, token: str, keys: Keys) -> Token:
        try:
            key = self._key_of(token, keys)
            claims = jwt.decode(
                token,
                key,
                algorithms=[key.algorithm_name],
                issuer=self._issuer,
                audience=self._audience,
                leeway=_LEEWAY_S,
                options={"require": ["exp", "iss", "aud", "sub"]},
            )
        except jwt.PyJWTError as error:
            raise Unauthenticated(f"The token is not valid here: {error}.") from None
        if len(claims["sub"]) > _MOST_SUBJECT:
            raise Unauthenticated(f"The token's subject has more than {_MOST_SUBJECT} characters.")
        return Token(claims["sub"], _scopes(claims), float(claims["exp"]))

    def _key_of(self, token: str, keys: Keys) -> jwt.PyJWK:
        """Raises Unauthenticated where the token names no key of ours, jwt.PyJWTError where it is no token."""
        id = jwt.get_unverified_header(token).get("kid")
        if id is None and len(keys) == 1:
            return next(iter(keys.values()))
        if id not in keys:
            self._keys.look_again()
            raise Unauthenticated("The token is signed with a key that the issuer does not list, or not yet.")
        return keys[id]


def _scopes(claims: dict[str, Any]) -> frozenset[Scope]:
    """Of `scope` (RFC 8693, words) or `scp` (a list, as some issuers write it); those of others are passed over."""
    said = claims.get("scope", claims.get("scp", ""))
    words = said.split() if isinstance(said, str) else said if isinstance(said, list) else ()
    return frozenset(scope for scope in SCOPES if scope in words)
