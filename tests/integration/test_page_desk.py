"""The page at `/` as a desk: several images, options, two sides compared, keys, colours, the service's state."""

import re
import subprocess
import sys
from pathlib import Path

import httpx
import pytest
from playwright.sync_api import Browser, expect

from service.bundle import write_bundle
from tests.conftest import MANIFEST, Served, encode_picture, run_server
from tests.integration.conftest import Visit, visit_page

PNG = {"Content-Type": "image/png"}


def ask(server: Served, body: bytes, query: str) -> list[dict[str, object]]:
    """Detections straight from the service."""
    url = f"{server.http_url}/v1/models/nuclei/detect?{query}"
    response = httpx.post(url, content=body, headers=PNG, timeout=60, trust_env=False)
    found: list[dict[str, object]] = response.raise_for_status().json()["detections"]
    return found


def test_several_images_at_once_are_each_counted_and_one_can_go(visit: Visit, golden: bytes) -> None:
    """Three files in one go: a tile each with what was found, a broken one marked; the first is on show."""
    visit.upload_all({"one.png": golden, "two.png": b"no image", "three.png": golden})
    tiles = visit.page.locator(".tile.own")
    expect(tiles).to_have_count(3)
    expect(tiles.nth(2)).to_have_attribute("data-state", "done")
    expect(visit.page.locator("#page")).to_have_attribute("data-image", "one.png")
    visit.expect_done()
    count = visit.page.locator("#count").inner_text()
    assert int(count) > 0
    expect(tiles.nth(0).locator(".badge")).to_have_text(count)
    expect(tiles.nth(1)).to_have_attribute("data-state", "failed")
    expect(tiles.nth(2).locator(".badge")).to_have_text(count)

    visit.page.get_by_role("button", name="Remove one.png").click()
    expect(tiles).to_have_count(2)
    expect(visit.page.locator("#page")).to_have_attribute("data-image", "two.png")


def test_options_are_asked_of_the_service_and_can_be_taken_back(visit: Visit, served: Served, golden: bytes) -> None:
    """Soft-NMS, another overlap, a limit, no masks: the page draws what the service answers to just that."""
    whole = visit.upload_and_wait("cells.png", golden)["detections"]
    page = visit.page
    page.locator("#most").fill("5")
    page.locator("#most").press("Enter")
    page.locator("#iou").fill("0.3")
    page.get_by_label("Overlapping boxes").select_option("soft_linear")
    with page.expect_response(lambda r: "soft_linear" in r.url and "masks" not in r.url) as answered:
        page.get_by_role("switch", name="Masks").uncheck()
    expect(page.locator("#page")).to_have_attribute("data-total", "5")
    visit.expect_done()
    expected = ask(served, golden, "score_threshold=0.05&iou_threshold=0.3&nms=soft_linear&max_detections=5")
    assert len(expected) == 5 and answered.value.json()["detections"] == expected
    assert "masks" not in page.locator("#snippet").inner_text()

    asked_before = len(visit.asked())
    page.get_by_role("button", name="Reset").click()
    expect(page.locator("#page")).to_have_attribute("data-total", str(len(whole)))
    assert len(visit.asked()) == asked_before, "an answer that is there was asked for again"


def test_two_settings_are_compared_side_by_side_on_the_same_image(visit: Visit, served: Served, golden: bytes) -> None:
    """A as it is, B with a far lower overlap: each side its own answer, and how they agree adds up."""
    page = visit.page
    visit.upload_and_wait("cells.png", golden)
    page.get_by_role("button", name="Compare").click()
    page.locator("#model").select_option(label="nuclei")
    page.get_by_label("Overlapping boxes").select_option("soft_gaussian")
    page.get_by_label("Sigma").fill("0.8")
    page.get_by_label("Score at least").fill("0.3")
    visit.expect_done()
    plain = ask(served, golden, "score_threshold=0.3")
    soft = ask(served, golden, "score_threshold=0.3&nms=soft_gaussian&soft_nms_sigma=0.8")
    assert plain and soft and len(soft) != len(plain)
    expect(page.locator(".pane[data-side='a']")).to_have_attribute("data-count", str(len(plain)))
    expect(page.locator(".pane[data-side='b']")).to_have_attribute("data-count", str(len(soft)))
    both, only_a, only_b = (int(page.locator(f"#{part}").inner_text()) for part in ("both", "only-a", "only-b"))
    assert both > 0 and (both + only_a, both + only_b) == (len(plain), len(soft))
    assert visit.painted("a") > 0 and visit.painted("b") > 0

    before = visit.painted("a"), visit.painted("b")
    page.get_by_role("button", name="Only differences").click()
    assert visit.painted("a") < before[0] and visit.painted("b") < before[1]
    page.locator(".pane[data-side='a'] .pane-pick").click()
    expect(page.get_by_label("Overlapping boxes")).to_have_value("hard")
    page.get_by_role("button", name="Compare").click()
    expect(page.locator(".pane[data-side='b']")).to_be_hidden()


def test_two_models_are_compared_on_the_same_image(visit: Visit) -> None:
    """Compare starts with the other model on the B side; both say who they are."""
    visit.page.get_by_role("button", name="Compare").click()
    visit.expect_done()
    panes = visit.page.locator(".pane")
    assert [panes.nth(i).get_attribute("data-model") for i in (0, 1)] == ["nuclei", "blood-cells"]
    expect(panes.nth(1).locator(".pane-pick")).to_contain_text("blood-cells 1")


def test_everything_is_reached_and_done_by_keys(visit: Visit) -> None:
    """Tab goes through the page in reading order, always visibly; arrows go along tiles, detections and tabs."""
    page = visit.page
    page.locator("body").press("Tab")
    order = []
    for _ in range(40):
        name, outline = page.evaluate(
            """() => {
                const at = document.activeElement;
                const label = at.matches(".hidden-input, .chip input") ? at.nextElementSibling : at;
                const names = [at.id, at.dataset.layer, at.className.split(" ")[0], at.name, at.tagName];
                return [names.find(Boolean), getComputedStyle(label).outlineStyle];
            }"""
        )
        if name == "BODY":
            break
        order.append(name)
        assert outline != "none" or name == "skip", f"{name} has the focus and does not show it"
        page.keyboard.press("Tab")
    wanted = ["skip", "pill", "theme", "masks", "compare", "file", "overlay", "tile", "threshold", "model", "nms"]
    wanted += ["iou", "most", "masks", "legend-row", "again", "tab-curl", "copy-snippet", "snippet"]
    places = iter(order)
    assert all(name in places for name in wanted), order

    page.locator(".overlay").first.focus()
    page.keyboard.press("ArrowRight")
    expect(page.locator(".tip").first).to_be_visible()
    expect(page.locator("#status")).to_contain_text(re.compile(r"nucleus (0\.\d\d|1\.00)"))
    page.keyboard.press("Escape")
    expect(page.locator(".tip").first).to_be_hidden()

    page.locator(".tile").first.focus()
    first = page.locator("#page").get_attribute("data-image")
    page.keyboard.press("ArrowRight")
    expect(page.locator("#page")).not_to_have_attribute("data-image", first or "")
    page.locator("#tab-curl").focus()
    page.keyboard.press("ArrowRight")
    expect(page.locator("#snippet")).to_contain_text("import requests")


def test_the_python_snippet_finds_what_the_page_shows(visit: Visit, golden: bytes, tmp_path: Path) -> None:
    """As copied, beside the file, whatever it is called: a line a detection."""
    pytest.importorskip("requests")
    name = 'some "odd" näme.png'
    visit.upload(name, golden)
    expect(visit.page.locator("#page")).to_have_attribute("data-image", name)
    visit.expect_done()
    visit.page.get_by_label("Score at least").fill("0.6")
    visit.page.get_by_role("tab", name="Python").click()
    (tmp_path / name).write_bytes(golden)
    program = visit.page.locator("#snippet").inner_text()
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    visit.expect_count(len(done.stdout.splitlines()))


def test_the_tritonclient_snippet_finds_what_the_page_shows(
    visit: Visit, triton_python: Path, golden: bytes, tmp_path: Path
) -> None:
    """By the Open Inference Protocol, options and all; the label is named."""
    visit.upload_and_wait("cells.png", golden)
    visit.page.get_by_label("Score at least").fill("0.6")
    visit.page.locator("#most").fill("9")
    visit.page.locator("#most").press("Enter")
    visit.expect_count(9)
    visit.expect_done()
    visit.page.get_by_role("tab", name="tritonclient").click()
    (tmp_path / "cells.png").write_bytes(golden)
    program = visit.page.locator("#snippet").inner_text()
    done = subprocess.run(
        [triton_python, "-c", program], cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert len(lines) == 9 and all(re.match(r"nucleus (0\.9|1\.0)", line) for line in lines)


def test_colours_follow_the_system_until_the_visitor_chooses(browser: Browser, served: Served) -> None:
    """Dark where the system is dark; the button turns it, and the choice outlives the visit."""
    background = "() => getComputedStyle(document.body).backgroundColor"
    with visit_page(browser, served, color_scheme="dark") as visit:
        dark = visit.page.evaluate(background)
        button = visit.page.get_by_role("button", name="Dark colours")
        expect(button).to_have_attribute("aria-pressed", "true")
        button.click()
        light = visit.page.evaluate(background)
        visit.page.reload()
        assert visit.page.evaluate(background) == light
        visit.page.emulate_media(color_scheme="light")
        assert visit.page.evaluate(background) == light
    brightness = [sum(map(int, re.findall(r"\d+", colour)[:3])) for colour in (dark, light)]
    assert brightness[0] < 120 < 600 < brightness[1]


def test_the_panel_shows_the_service_as_it_is(visit: Visit, served: Served) -> None:
    """Models with version and digest, p95 and rate from /v1/status, and the state at the top."""
    status = httpx.get(f"{served.http_url}/v1/status", trust_env=False).json()
    rows = visit.page.locator("#live-models tr")
    expect(rows).to_have_count(len(status["models"]))
    for row, model in zip(rows.all(), status["models"], strict=True):
        expect(row).to_contain_text(f"{model['name']} {model['version']}")
        expect(row).to_contain_text(model["digest"].removeprefix("sha256:")[:10])
    expect(visit.page.locator("#live-state")).to_have_text("ready")
    expect(visit.page.locator("[data-live='p95'] .live-figure")).to_have_text(re.compile(r"\d+ (ms|s)"))
    expect(visit.page.locator("[data-live='rate'] .spark path")).not_to_have_count(0)


def test_asking_again_draws_how_long_answers_took(visit: Visit) -> None:
    """From the second answer on there is a line, and a median in words."""
    visit.page.get_by_role("button", name="Ask again").click()
    expect(visit.page.locator("#latency-words")).to_have_text(re.compile(r"median .+ms of 2"))
    expect(visit.page.locator("#latency-spark .spark-line")).to_have_count(1)


def test_keypoints_are_drawn_with_their_limbs(browser: Browser, tmp_path: Path) -> None:
    """A keypoints model: with boxes and names switched off, the points and the limb between them are left."""
    for name in ("detector.onnx", "keypoint_head.onnx"):
        (tmp_path / name).write_bytes(b"not a model: the fake engine needs none")
    skeleton = {"names": ["near", "far"], "limbs": [[0, 1]]}
    write_bundle(tmp_path, MANIFEST | {"task": "keypoints", "keypoints": skeleton})
    with run_server({"RCNN_ENGINE": "fake", "RCNN_BUNDLES": str(tmp_path)}) as server:
        with visit_page(browser, server, "toy") as visit:
            visit.upload_and_wait("person.png", encode_picture(240, 120))
            visit.page.get_by_role("button", name="Boxes").click()
            if visit.page.get_by_role("button", name="Names").get_attribute("aria-pressed") == "true":
                visit.page.get_by_role("button", name="Names").click()
            assert visit.painted() > 100
            assert visit.complaints == []
            visit.page.get_by_label("Score at least").fill("1")
            assert visit.painted() == 0
