"""The driver's own arithmetic, and two of its faults; `make chaos` plays them all."""

from collections import Counter
from pathlib import Path

import pytest

from tests.chaos.__main__ import play
from tests.chaos.faults import FAULTS
from tests.chaos.load import by_status, unaccounted


def test_accounting_closes_only_where_both_sides_tell_the_same() -> None:
    """An answer the metrics lack, or one too many, is told; what a client never heard of may be counted or not."""
    assert unaccounted(Counter({"200": 3, "422": 1}), by_status({"ok": 3.0, "undecodable_image": 1.0})) == ""
    assert unaccounted(Counter({"200": 3, "timeout": 1}), Counter({"200": 3})) == ""
    assert unaccounted(Counter({"200": 3, "timeout": 1}), Counter({"200": 4})) == ""
    assert unaccounted(Counter({"200": 3}), Counter({"200": 2})) != ""
    assert unaccounted(Counter({"200": 3}), Counter({"200": 4})) != ""
    assert unaccounted(Counter({"200": 3}), Counter({"200": 2, "429": 1})) != ""


@pytest.mark.slow
@pytest.mark.parametrize("name", ["100 hot swaps", "engine raises for 2 s"])
async def test_a_fault_costs_no_more_than_it_excuses(name: str, tmp_path: Path) -> None:
    """Every request has one outcome, the same at the client and in the metrics."""
    (fault,) = [fault for fault in FAULTS if fault.name == name]
    row = await play(fault, tmp_path)
    assert row.wrong == "", str(row)
