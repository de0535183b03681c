"""
The page at `/`, in a real browser against a real server.

Needs a Chromium: `apt-get install chromium`, or RCNN_CHROMIUM=<path>. Without one these tests are skipped, except where
CI is set, there they fail.
The page says on #page what it shows: data-state, data-count (drawn), data-total (answered), data-image, data-model.
"""

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import httpx
import pytest
from playwright.sync_api import Browser, ConsoleMessage, FilePayload, Page, expect, sync_playwright

FLAGS = [
    "--no-sandbox",  # containers run tests as root, where the sandbox refuses to start
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",  # the browser's own calls home: there may be no network
    "--disable-component-update",
    "--disable-sync",
]
NAMES = ["chromium", "chromium-browser", "google-chrome"]


class Served(Protocol):
    """A running server, as the `served` fixture gives it."""

    http_url: str


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
        self.page.set_input_files("#file", files=FilePayload(name=name, mimeType="image/png", buffer=body))

    def upload_and_wait(self, name: str, body: bytes) -> dict[str, Any]:
        """Give the page an image and return the service's answer once it is drawn."""
        with self.page.expect_response(lambda r: "/detect" in r.url and r.request.method == "POST") as answered:
            self.upload(name, body)
        expect(self.page.locator(f"#page[data-image='{name}']")).to_have_attribute("data-state", "done")
        answer: dict[str, Any] = answered.value.json()
        return answer

    def expect_count(self, count: int) -> None:
        expect(self.page.locator("#page")).to_have_attribute("data-count", str(count))


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    found = os.environ.get("RCNN_CHROMIUM") or next(filter(None, map(shutil.which, NAMES)), None)
    if found is None:
        hint = "no Chromium: `apt-get install chromium`, or set RCNN_CHROMIUM to its path"
        if os.environ.get("CI"):
            pytest.fail(hint)
        pytest.skip(hint)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=found, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture
def visit(browser: Browser, served: Served) -> Iterator[Visit]:
    """The page opened and settled: it greets with the default model's first sample."""
    context = browser.new_context(viewport={"width": 1280, "height": 860})
    page = context.new_page()
    page.set_default_timeout(20_000)
    visit = Visit(page, served.http_url.rstrip("/"))
    page.on("request", lambda request: visit.requests.append(request.url))
    page.on("console", visit.note)
    page.on("pageerror", lambda error: visit.complaints.append(str(error)))
    page.goto(f"{visit.origin}/#model=nuclei")
    expect(page.locator("#page")).to_have_attribute("data-state", "done", timeout=30_000)
    yield visit
    context.close()


@pytest.fixture(scope="module")
def golden(served: Served) -> bytes:
    """A golden image of the nuclei bundle, from the examples the server lists."""
    with httpx.Client(base_url=served.http_url, trust_env=False) as client:
        example = client.get("/v1/models/nuclei").raise_for_status().json()["examples"][0]
        return client.get(example).raise_for_status().content


def test_an_uploaded_image_gets_its_boxes_and_masks_drawn(visit: Visit, golden: bytes) -> None:
    """What the service found is on the canvas, and the figures beside it are the answer's."""
    answer = visit.upload_and_wait("cells.png", golden)
    sure = [d for d in answer["detections"] if d["score"] >= 0.5]
    assert sure, "the golden image has nothing in it to draw"

    visit.expect_count(len(sure))
    expect(visit.page.locator("#page")).to_have_attribute("data-total", str(len(answer["detections"])))
    expect(visit.page.locator("#count")).to_have_text(str(len(sure)))
    expect(visit.page.locator("#legend [data-label='nucleus'] .figure")).to_have_text(str(len(sure)))
    expect(visit.page.locator("#time-bar .part")).not_to_have_count(0)
    assert _painted(visit.page) > 0
    visit.page.get_by_role("button", name="Boxes").click()
    visit.page.get_by_role("button", name="Masks").click()
    visit.page.wait_for_timeout(100)
    assert _painted(visit.page) == 0


def test_the_slider_acts_at_once_and_asks_nobody(visit: Visit, golden: bytes) -> None:
    """A higher score leaves fewer detections, as many as the answer holds, without another request."""
    answer = visit.upload_and_wait("cells.png", golden)
    scores = sorted(d["score"] for d in answer["detections"])
    asked_before = len(visit.requests)
    slider = visit.page.get_by_label("Score at least")

    slider.fill("0.05")
    visit.expect_count(len(scores))
    middle = min(1.0, round(scores[len(scores) // 2] + 0.01, 2))
    left = sum(score >= middle for score in scores)
    assert left < len(scores)
    slider.fill(f"{middle:.2f}")
    visit.expect_count(left)
    expect(visit.page.locator("#threshold-value")).to_have_text(f"{middle:.2f}")
    slider.press("Home")
    visit.expect_count(len(scores))

    visit.page.wait_for_timeout(300)
    assert visit.requests[asked_before:] == []


def test_the_curl_line_gets_what_the_page_shows(visit: Visit, golden: bytes, tmp_path: Path) -> None:
    """The line is copied into a shell beside the file, whatever the file is called, and finds the same."""
    name = "one day's cells.png"
    visit.upload(name, golden)
    expect(visit.page.locator("#file-facts strong")).to_have_text(name)
    expect(visit.page.locator("#page")).to_have_attribute("data-state", "done")
    visit.page.get_by_label("Score at least").fill("0.6")
    line = visit.page.locator("#curl").inner_text()
    assert f"{visit.origin}/v1/models/nuclei/detect?score_threshold=0.6&masks=rle" in line
    assert "Content-Type: image/png" in line

    if shutil.which("curl") is None:
        return
    (tmp_path / name).write_bytes(golden)
    done = subprocess.run(
        ["sh", "-c", line],
        cwd=tmp_path,
        env=os.environ | {"no_proxy": "*"},
        stdout=subprocess.PIPE,
        timeout=60,
        check=True,
    )
    found = json.loads(done.stdout)["detections"]
    visit.expect_count(len(found))


def test_an_unreadable_file_shows_the_problems_words(visit: Visit, served: Served) -> None:
    """The visitor reads the service's own title, detail and code; the next good image clears them."""
    body = b"this is no image"
    with httpx.Client(base_url=served.http_url, trust_env=False) as client:
        problem = client.post("/v1/models/nuclei/detect", content=body, headers={"Content-Type": "image/png"}).json()

    visit.upload("letter.png", body)
    box = visit.page.get_by_role("alert")
    expect(box).to_be_visible()
    expect(visit.page.locator("#page")).to_have_attribute("data-state", "failed")
    expect(box).to_contain_text(problem["title"])
    expect(box).to_contain_text(problem["detail"])
    expect(box).to_contain_text(problem["code"])
    visit.expect_count(0)
    # The browser itself notes every refused request; the page adds nothing to that.
    assert [c for c in visit.complaints if "Failed to load resource" not in c] == []

    visit.page.locator(".sample").first.click()
    expect(visit.page.locator("#page")).to_have_attribute("data-state", "done")
    expect(box).to_be_hidden()


def test_the_page_asks_only_its_own_server_and_complains_of_nothing(visit: Visit, golden: bytes) -> None:
    """No font, script or count of visits from elsewhere; no error on the console in an ordinary visit."""
    visit.upload_and_wait("cells.png", golden)
    visit.page.get_by_label("Model").select_option(label="blood-cells")
    expect(visit.page.locator("#page[data-model='blood-cells']")).to_have_attribute("data-state", "done")
    visit.page.locator(".sample").first.click()
    expect(visit.page.locator("#page:not([data-image='cells.png'])")).to_have_attribute("data-state", "done")
    visit.page.locator("#answer summary").click()
    expect(visit.page.locator("#json")).to_contain_text('"request_id"')

    assert [url for url in visit.requests if not url.startswith((f"{visit.origin}/", f"blob:{visit.origin}/"))] == []
    assert visit.complaints == []


def test_masks_are_decoded_as_the_reference_decodes_them(visit: Visit, golden: bytes) -> None:
    """Every mask the page decodes has the box and area that pycocotools gives it."""
    reference = pytest.importorskip("pycocotools.mask")
    masks = [d["mask"] for d in visit.upload_and_wait("cells.png", golden)["detections"]]
    assert masks
    decoded = visit.page.evaluate(
        """async (masks) => {
            const { crop } = await import(new URL("ui/rle.js", document.baseURI).href);
            return masks.map((mask) => {
                const found = crop(mask);
                return found ? [found.x, found.y, found.width, found.height, found.area] : [0, 0, 0, 0, 0];
            });
        }""",
        masks,
    )
    assert decoded == [[*map(int, reference.toBbox(mask)), int(reference.area(mask))] for mask in masks]


def test_the_page_fits_a_phone(visit: Visit) -> None:
    """Nothing sticks out sideways at phone width."""
    visit.page.set_viewport_size({"width": 360, "height": 740})
    assert visit.page.evaluate("() => document.documentElement.scrollWidth") <= 360


def _painted(page: Page) -> int:
    """How many pixels of the overlay hold anything."""
    count: int = page.locator("#overlay").evaluate(
        """(canvas) => {
            const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
            let painted = 0;
            for (let i = 3; i < data.length; i += 4) painted += data[i] > 0;
            return painted;
        }"""
    )
    return count
