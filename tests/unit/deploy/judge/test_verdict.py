"""Three answers, and when each is given."""

import pytest

from deploy.judge.verdict import Decision, Finding, decide

FINE, OPEN, WORSE = (Finding(state, state, f"it is {state}", {}) for state in ("fine", "open", "worse"))


@pytest.mark.parametrize(
    "findings, unfit, decision, reasons",
    [
        ([FINE, FINE], [], "promote", ("it is fine", "it is fine")),
        ([FINE, WORSE, OPEN], [], "rollback", ("it is worse",)),
        ([FINE, OPEN], [], "undecided", ("it is open",)),
        ([], [], "undecided", ("nothing was asked",)),
        ([WORSE], ["the split is not as stated"], "undecided", ("the split is not as stated",)),
        ([FINE], ["no data"], "undecided", ("no data",)),
    ],
)
def test_the_answer_follows_from_what_was_found(
    findings: list[Finding], unfit: list[str], decision: str, reasons: tuple[str, ...]
) -> None:
    verdict = decide({}, findings, unfit)
    assert (verdict.decision.value, verdict.reasons) == (decision, reasons)


def test_exit_codes_are_those_of_every_command() -> None:
    assert {decision.value: decision.exit_code for decision in Decision} == {
        "promote": 0,
        "rollback": 1,
        "undecided": 3,
    }
