"""The page at `/`: one image, in a real browser against a real server (conftest.py says what that needs)."""

import json
import os
import shutil
import subprocess
from pathlib import Path

import httpx
import pytest
from playwright.sync_api import expect

from tests.conftest import Served
from tests.integration.conftest import Visit


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
    assert visit.painted() > 0
    visit.page.get_by_role("button", name="Boxes").click()
    visit.page.get_by_role("button", name="Masks").click()
    assert visit.painted() == 0


def test_the_slider_acts_at_once_and_asks_nobody(visit: Visit, golden: bytes) -> None:
    """A higher score leaves fewer detections, as many as the answer holds, without another request."""
    answer = visit.upload_and_wait("cells.png", golden)
    scores = sorted(d["score"] for d in answer["detections"])
    asked_before = len(visit.asked())
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
    assert visit.asked()[asked_before:] == []


def test_the_curl_line_gets_what_the_page_shows(visit: Visit, golden: bytes, tmp_path: Path) -> None:
    """The line is copied into a shell beside the file, whatever the file is called, and finds the same."""
    name = "one day's cells.png"
    visit.upload(name, golden)
    expect(visit.page.locator("#file-facts strong")).to_have_text(name)
    expect(visit.page.locator("#page")).to_have_attribute("data-state", "done")
    visit.page.get_by_label("Score at least").fill("0.6")
    line = visit.page.locator("#snippet").inner_text()
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
    visit.page.locator("#model").select_option(label="blood-cells")
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
    visit.page.get_by_role("button", name="Compare").click()
    visit.expect_done()
    assert visit.page.evaluate("() => document.documentElement.scrollWidth") <= 360
