"""Swagger UI at /docs, every asset of it served from here: a browser without the internet shows it all the same."""

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
    # Relative addresses hold behind a proxy that adds a prefix.
    return get_swagger_ui_html(
        openapi_url="openapi.json",
        title="rcnn",
        swagger_js_url="docs/assets/swagger-ui-bundle.js",
        swagger_css_url="docs/assets/swagger-ui.css",
        swagger_favicon_url="ui/favicon.svg",
        swagger_ui_parameters={"tryItOutEnabled": True, "displayRequestDuration": True, "deepLinking": False},
    )
