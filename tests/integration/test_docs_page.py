"""The API reference at `/docs`, in a real browser against a real server."""

from playwright.sync_api import Browser, expect

from tests.conftest import Served


def test_the_reference_shows_and_runs_without_the_internet(browser: Browser, fake_served: Served) -> None:
    """Every operation is listed, nothing is asked of anybody else, and the examples are answered as they stand."""
    page = browser.new_page()
    asked: list[str] = []
    complaints: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("console", lambda said: complaints.append(said.text) if "Security Policy" in said.text else None)
    page.goto(f"{fake_served.http_url}/docs")
    for path in ("/v1/detect", "/v1/models/{name}/detect", "/v1/models", "/readyz"):
        expect(page.locator(f".opblock-summary-path[data-path='{path}']")).to_be_visible()
    operation = page.locator(
        ".opblock", has=page.locator(".opblock-summary-path[data-path='/v1/models/{name}/detect']")
    )
    operation.locator(".opblock-summary-control").click()
    operation.get_by_label("Request content type").select_option("application/json")
    with page.expect_response(lambda response: response.request.method == "POST") as answered:
        operation.get_by_role("button", name="Execute").click()
    assert answered.value.url.startswith(f"{fake_served.http_url}/v1/models/toy/detect")
    assert answered.value.status == 200
    ours = (fake_served.http_url, "data:", "blob:")
    assert len(asked) >= 4 and [url for url in asked if not url.startswith(ours)] == []
    assert complaints == []
    page.close()
