"""What every answer says, whoever in the service gave it."""

from starlette.types import ASGIApp, Message, Receive, Scope, Send

# What browsers are told (https://owasp.org/www-project-secure-headers/).
_ALWAYS = {
    "content-security-policy": "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), geolocation=(), microphone=()",
}
_TWO_YEARS_S = 63_072_000


class EveryAnswer:
    """
    Adds headers to whatever app answers, unless the answer has its own.

    over_tls: browsers shall never come back without TLS. release: whose answer it is, refusals and failures included.
    """

    def __init__(self, app: ASGIApp, *, over_tls: bool, release: str = "") -> None:
        more = {"strict-transport-security": f"max-age={_TWO_YEARS_S}"} if over_tls else {}
        if release:
            more["x-release"] = release
        self._app = app
        self._headers = [(name.encode(), value.encode()) for name, value in (_ALWAYS | more).items()]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                said = {name for name, _ in message["headers"]}
                message["headers"] = [*message["headers"], *(h for h in self._headers if h[0] not in said)]
            await send(message)

        await self._app(scope, receive, send_with_headers)
