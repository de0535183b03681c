"""Who asks, and whether they may. One for all doors."""

import time

from service.errors import Forbidden, Unauthenticated
from service.security.allowance import Allowances, Rate
from service.security.api_keys import KeyFile
from service.security.caller import ANYBODY, Caller, Scope
from service.security.tokens import TokenVerifier

ADMIN_ELSEWHERE = "Models are loaded and unloaded on the metrics and admin port alone (RCNN_ADMIN_PORT_ONLY)."


class Guard:
    """Without keys and without tokens, everybody may do everything."""

    def __init__(self, keys: KeyFile | None, tokens: TokenVerifier | None, rate: Rate) -> None:
        """rate: of every caller with a token."""
        self._keys, self._tokens, self._rate = keys, tokens, rate
        self._allowances = Allowances()

    @property
    def is_on(self) -> bool:
        """Whether anybody is asked who they are."""
        return self._keys is not None or self._tokens is not None

    def identify(self, authorization: str | None, api_key: str | None) -> Caller:
        """
        Who asks, by the Authorization and X-API-Key headers as they were sent.

        Raises Unauthenticated, or NotReady while there is no key to check a token with.
        """
        return self._caller(_credential(authorization, api_key)) if self.is_on else ANYBODY

    def check(self, caller: Caller, scope: Scope, *, images: bool) -> None:
        """images: detections are asked for. Raises Forbidden, or RateLimited or QuotaExceeded before a body is read."""
        if scope not in caller.scopes:
            has = ", ".join(sorted(caller.scopes)) or "none"
            raise Forbidden(f"This needs the scope {scope}; yours: {has}.")
        if images:
            caller.allowance.check()

    async def keep_fresh(self) -> None:
        """Follow the token issuer's keys until cancelled; ends at once where there is nothing to follow."""
        if self._tokens is not None:
            await self._tokens.keep_fresh()

    def _caller(self, credential: str) -> Caller:
        is_token = credential.count(".") == 2  # header.claims.signature; a key is NAME.SECRET
        if is_token and self._tokens is not None:
            token = self._tokens.verify(credential, time.time())
            name = f"token/{token.subject}"
            return Caller(name, token.scopes, self._allowances.of(name, self._rate))
        if self._keys is None:
            raise Unauthenticated("Only tokens are accepted here: Authorization: Bearer TOKEN.")
        key = self._keys.find(credential)
        name = f"key/{key.name}"
        return Caller(name, key.scopes, self._allowances.of(name, key.rate))


def _credential(authorization: str | None, api_key: str | None) -> str:
    if authorization is not None:
        kind, _, rest = authorization.partition(" ")
        if kind.lower() != "bearer" or not rest.strip():
            raise Unauthenticated("Authorization: expected Bearer and a key or token.")
        return rest.strip()
    if api_key:
        return api_key
    raise Unauthenticated("Say who you are: Authorization: Bearer KEY-OR-TOKEN, or X-API-Key: KEY.")
