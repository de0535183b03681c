"""Content negotiation."""

import pytest
from starlette.requests import Request

from service.api.rest.accepts import wanted_kind, wants_gzip

CHROME = "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,image/apng,*/*;q=0.8"


def request(**headers: str) -> Request:
    raw = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    return Request({"type": "http", "headers": raw})


@pytest.mark.parametrize(
    ("accept", "kind"),
    [
        ("*/*", "application/json"),
        ("", "application/json"),
        ("application/json", "application/json"),
        ("image/png", "image/png"),
        ("image/jpeg", "image/jpeg"),
        ("image/*", "image/png"),
        ("image/jpeg;q=0.9, image/png;q=0.1", "image/jpeg"),
        ("image/png;q=0, */*", "application/json"),
        ("application/*;q=0.1, image/jpeg;q=0.2", "image/jpeg"),
        ("IMAGE/PNG", "image/png"),
        ("image/png;q=much", "application/json"),
        ("text/csv", "application/json"),
        (CHROME, "application/json"),
        ("image/avif,image/webp,image/png,image/svg+xml,image/*;q=0.8,*/*;q=0.5", "image/png"),
    ],
)
def test_accept_chooses_json_or_a_picture(accept: str, kind: str) -> None:
    """By quality, of equals JSON first; JSON where nothing we have is wanted."""
    assert wanted_kind(request(accept=accept)) == kind


def test_no_accept_means_json() -> None:
    """What curl --data-binary without -H sends is */*; some clients send nothing."""
    assert wanted_kind(request()) == "application/json"


@pytest.mark.parametrize(
    ("accept", "wanted"),
    [("gzip", True), ("gzip, deflate, br", True), ("*", True), ("identity", False), ("gzip;q=0", False), ("", False)],
)
def test_gzip_is_sent_only_where_it_is_accepted(accept: str, wanted: bool) -> None:
    """q=0 is a no; no header is a no."""
    assert wants_gzip(request(accept_encoding=accept)) is wanted
