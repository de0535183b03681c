"""Content negotiation: which of the things we can send a request wants most (RFC 9110, 12.4 and 12.5)."""

from collections.abc import Sequence

from fastapi import Request

JSON, PNG, JPEG = "application/json", "image/png", "image/jpeg"
PICTURES = (PNG, JPEG)


def wanted_kind(request: Request) -> str:
    """JSON, PNG or JPEG, by Accept; JSON where none is asked for, and for browsers, whose Accept names pictures."""
    header = request.headers.get("accept", "*/*")
    return JSON if "text/html" in header else most_wanted(header, (JSON, *PICTURES))


def wants_gzip(request: Request) -> bool:
    return quality(request.headers.get("accept-encoding", ""), "gzip") > 0


def most_wanted(header: str, offers: Sequence[str]) -> str:
    """The offer of the greatest quality, of equals the first."""
    return max(offers, key=lambda offer: quality(header, offer))


def quality(header: str, offer: str) -> float:
    """How much header wants offer, 0 (not at all) to 1: the q of the most specific range that fits."""
    best_fit, best_q = -1, 0.0
    for part in header.lower().split(","):
        name, *parameters = (text.strip() for text in part.split(";"))
        fit = _fit(name, offer)
        if fit > best_fit:
            best_fit, best_q = fit, _q(parameters)
    return best_q


def _fit(name: str, offer: str) -> int:
    """How closely a range names offer: 2 by name, 1 by type, 0 as anything, -1 not."""
    if name == offer:
        return 2
    if name.endswith("/*") and name != "*/*":
        return 1 if offer.startswith(name[:-1]) else -1
    return 0 if name in ("*", "*/*") else -1


def _q(parameters: Sequence[str]) -> float:
    try:
        return next((float(text[2:]) for text in parameters if text.startswith("q=")), 1.0)
    except ValueError:
        return 0.0
