"""The page at `/` and its files under `/ui`: all from here, nothing inline, nothing from elsewhere."""

from pathlib import Path

from fastapi import FastAPI
from fastapi.responses import FileResponse, Response
from fastapi.staticfiles import StaticFiles
from starlette.types import Scope

_UI = Path(__file__).parent / "ui"
_HEADERS = {
    # Scripts and styles are files of ours; pictures may also be the visitor's own, out of the browser's memory.
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-cache",  # ask whether it changed: a rollout must not mix the files of two versions
}


def serve_page(app: FastAPI) -> None:
    """Add the page to app."""
    app.mount("/ui", _Files(directory=_UI), name="ui")
    app.add_api_route("/", _page, include_in_schema=False, response_model=None)


async def _page() -> FileResponse:
    return FileResponse(_UI / "index.html", headers=_HEADERS)


class _Files(StaticFiles):
    async def get_response(self, path: str, scope: Scope) -> Response:
        response = await super().get_response(path, scope)
        response.headers.update(_HEADERS)
        return response
