"""Swagger UI at /docs, every asset of it served from here: a browser without the internet shows it all the same."""

import base64
import hashlib
import re
from pathlib import Path

import fastapi_swagger
from fastapi import FastAPI
from fastapi.openapi.docs import get_swagger_ui_html
from fastapi.responses import HTMLResponse
from fastapi.staticfiles import StaticFiles

_ASSETS = Path(fastapi_swagger.__file__).parent / "resources"


def add_docs(app: FastAPI) -> None:
    app.mount("/docs/assets", StaticFiles(directory=_ASSETS), name="docs")
    app.add_api_route("/docs", _docs, include_in_schema=False, response_class=HTMLResponse)


async def _docs() -> HTMLResponse:
    page = _page()
    page.headers["Content-Security-Policy"] = _policy(bytes(page.body).decode())
    return page


def _policy(html: str) -> str:
    """Scripts from here, and the one the page starts with, by its hash; the reference styles elements as it goes."""
    inline = re.findall(r"<script>(.*?)</script>", html, re.DOTALL)
    hashes = " ".join(f"'sha256-{base64.b64encode(hashlib.sha256(s.encode()).digest()).decode()}'" for s in inline)
    return (
        f"default-src 'none'; script-src 'self' {hashes}; style-src 'self' 'unsafe-inline'; "
        "img-src 'self' data: blob:; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )


def _page() -> HTMLResponse:
    # Relative addresses hold behind a proxy that adds a prefix.
    return get_swagger_ui_html(
        openapi_url="openapi.json",
        title="rcnn",
        swagger_js_url="docs/assets/swagger-ui-bundle.js",
        swagger_css_url="docs/assets/swagger-ui.css",
        swagger_favicon_url="ui/favicon.svg",
        swagger_ui_parameters={"tryItOutEnabled": True, "displayRequestDuration": True, "deepLinking": False},
    )
