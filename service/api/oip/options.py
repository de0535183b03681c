"""Request parameters -> options. Numbers and flags may come as text: not every client can send them otherwise."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from service.api.oip.values import Parameter
from service.api.options import Options
from service.detections import DetectOptions
from service.errors import InvalidOption

_LONGEST_US = 3_600_000_000


@dataclass(frozen=True)
class Chosen:
    """timeout_s is the request's own deadline, None if it names none."""

    options: DetectOptions
    timeout_s: float | None


def read_parameters(parameters: Mapping[str, Parameter], wants_masks: bool) -> Chosen:
    """
    Every parameter of a request. Raises InvalidOption: unknown, of the wrong kind, or out of range.

    wants_masks: the masks output will be sent; masks=none then leaves it empty, for clients that ask for every output.
    """
    sent = dict(parameters)
    timeout_s = _timeout_s(sent.pop("timeout", 0))
    if str(sent.pop("priority", 0)) != "0":
        raise InvalidOption("priority: expected 0. Send the header X-Request-Priority: high to go first.")
    options = Options.parse({"masks": "rle", **sent}).to_values()
    if options.masks not in ("none", "rle"):
        raise InvalidOption(f"masks: expected none or rle, got {options.masks}; the masks output holds run lengths.")
    return Chosen(options if wants_masks else replace(options, masks="none"), timeout_s)


def _timeout_s(sent_us: Parameter) -> float | None:
    """tritonclient sends microseconds; 0 is none."""
    try:
        timeout_us = int(sent_us)
    except (ValueError, OverflowError):
        timeout_us = -1
    if not 0 <= timeout_us <= _LONGEST_US:
        raise InvalidOption(f"timeout: expected microseconds up to an hour, got {sent_us!r:.40}.")
    return timeout_us / 1e6 or None
