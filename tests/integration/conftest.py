"""
A real browser on the page at `/` of a real server.

Needs a Chromium: `apt-get install chromium`, or RCNN_CHROMIUM=<path>. Without one these tests are skipped, except where
CI is set, there they fail.
The page says on #page what it shows: data-state, data-count (drawn), data-total (answered), data-image, data-model.
"""

import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest
from playwright.sync_api import Browser, ConsoleMessage, FilePayload, Page, expect, sync_playwright

from tests.conftest import Served

FLAGS = [
    "--no-sandbox",  # containers run tests as root, where the sandbox refuses to start
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",  # the browser's own calls home: there may be no network
    "--disable-component-update",
    "--disable-sync",
]
_PATIENCE_MS = 60_000  # a machine may be busy; nothing here is timed
NAMES = ["chromium", "chromium-browser", "google-chrome"]


@dataclass
class Visit:
    """One open page and what the browser noted about it."""

    page: Page
    origin: str
    requests: list[str] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)

    def note(self, message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            self.complaints.append(message.text)

    def upload(self, name: str, body: bytes) -> None:
        self.upload_all({name: body})

    def upload_all(self, bodies: dict[str, bytes]) -> None:
        files = [FilePayload(name=name, mimeType="image/png", buffer=body) for name, body in bodies.items()]
        self.page.set_input_files("#file", files=files)

    def upload_and_wait(self, name: str, body: bytes) -> dict[str, Any]:
        """Give the page an image and return the service's answer once it is drawn."""
        with self.page.expect_response(lambda r: "/detect" in r.url and r.request.method == "POST") as answered:
            self.upload(name, body)
        assert answered.value.ok, f"{answered.value.status} {answered.value.text()}"
        expect(self.page.locator(f"#page[data-image='{name}']")).to_have_attribute("data-state", "done")
        answer: dict[str, Any] = answered.value.json()
        return answer

    def expect_count(self, count: int) -> None:
        expect(self.page.locator("#page")).to_have_attribute("data-count", str(count))

    def expect_done(self) -> None:
        expect(self.page.locator("#page")).to_have_attribute("data-state", "done")

    def asked(self) -> list[str]:
        """Every request so far but those of the live panel, which never ends."""
        return [url for url in self.requests if not url.endswith("/v1/status")]

    def painted(self, side: str = "a") -> int:
        """How many pixels of the side's overlay hold anything, once all that was asked for until now is painted."""
        count: int = self.page.locator(f".pane[data-side='{side}'] .overlay").evaluate(
            """async (canvas) => {
                await new Promise(requestAnimationFrame);  // the page paints in a frame's callback, before this one
                const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
                let painted = 0;
                for (let i = 3; i < data.length; i += 4) painted += data[i] > 0;
                return painted;
            }"""
        )
        return count


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    found = os.environ.get("RCNN_CHROMIUM") or next(filter(None, map(shutil.which, NAMES)), None)
    if found is None:
        hint = "no Chromium: `apt-get install chromium`, or set RCNN_CHROMIUM to its path"
        if os.environ.get("CI"):
            pytest.fail(hint)
        pytest.skip(hint)
    expect.set_options(timeout=_PATIENCE_MS)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=found, args=FLAGS)
        yield browser
        browser.close()


@contextmanager
def visit_page(browser: Browser, server: Served, model: str = "nuclei", **context: Any) -> Iterator[Visit]:
    """The page opened and settled: it greets with the model's first sample, or with none where it has no samples."""
    opened = browser.new_context(viewport={"width": 1280, "height": 860}, **context)
    page = opened.new_page()
    page.set_default_timeout(_PATIENCE_MS)
    visit = Visit(page, server.http_url.rstrip("/"))
    page.on("request", lambda request: visit.requests.append(request.url))
    page.on("console", visit.note)
    page.on("pageerror", lambda error: visit.complaints.append(str(error)))
    page.goto(f"{visit.origin}/#model={model}")
    expect(page.locator("#page")).to_have_attribute("data-state", re.compile("done|idle"))
    yield visit
    opened.close()


@pytest.fixture
def visit(browser: Browser, served: Served) -> Iterator[Visit]:
    """The shipped models' page, at the nuclei model."""
    with visit_page(browser, served) as visit:
        yield visit


@pytest.fixture(scope="module")
def golden(served: Served) -> bytes:
    """A golden image of the nuclei bundle, from the examples the server lists."""
    with httpx.Client(base_url=served.http_url, trust_env=False) as client:
        example = client.get("/v1/models/nuclei").raise_for_status().json()["examples"][0]
        return client.get(example).raise_for_status().content


@pytest.fixture(scope="session")
def triton_python() -> Path:
    """A Python with tritonclient, which cannot share ours: its pins exclude our protobuf."""
    script = Path(__file__).parents[2] / "deploy/tools/oip_clients.sh"
    cached = subprocess.run(["bash", script, "--cached"], capture_output=True, text=True, check=False)
    if cached.returncode != 0:
        advice = "no tritonclient: run deploy/tools/oip_clients.sh"
        if os.environ.get("CI"):
            pytest.fail(advice)
        pytest.skip(advice)
    return Path(cached.stdout.strip()) / "triton/bin/python"
