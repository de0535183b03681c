"""Requests of the story, accounted for."""

from deploy.e2e.accounts import account, exposure, p95_s
from deploy.e2e.traffic import Asked


def asked(done: float, outcome: str = "200", release: str | None = "stable") -> Asked:
    return Asked(done - 0.5, done, outcome, release, None, "a.png")


def test_errors_of_a_release_known_to_err_are_its_own() -> None:
    found = account([asked(1), asked(2, "413", "bad"), asked(3, "413", "bad")], {"bad"})
    assert (found.sent, found.answered, found.candidate_errors) == (3, 1, 2)
    assert found.is_clean


def test_the_same_errors_of_any_other_release_are_not() -> None:
    found = account([asked(1), asked(2, "413", "bad")], set())
    assert found.machinery == {"413 from bad": 1}
    assert not found.is_clean


def test_what_nobody_answered_is_the_machinery_s_whoever_errs() -> None:
    found = account([asked(1, "connection lost", None), asked(2, "502", None)], {"bad"})
    assert found.machinery == {"connection lost from nobody": 1, "502 from nobody": 1}


def test_exposure_counts_from_the_first_error_of_a_candidate_to_its_last_answer() -> None:
    requests = [asked(1), asked(2, release="bad"), asked(3, "413", "bad"), asked(4), asked(7, release="bad"), asked(9)]
    found = exposure(requests, "bad", 0, 10)
    assert found == {"answers": 3, "share": 0.5, "errors": 1, "first_bad_to_last_s": 4.0}


def test_without_errors_each_answer_of_a_bad_candidate_counts() -> None:
    requests = [asked(2, release="bad"), asked(5, release="bad"), asked(6)]
    assert exposure(requests, "bad", 0, 10)["first_bad_to_last_s"] == 3.0


def test_a_candidate_that_answered_nobody_harmed_nobody() -> None:
    assert exposure([asked(1)], "bad", 0, 10) == {"answers": 0, "share": 0.0, "errors": 0, "first_bad_to_last_s": 0.0}


def test_p95_is_of_what_was_due_within() -> None:
    requests = [asked(1), asked(20)]
    assert p95_s(requests, 0, 10) == 0.5
    assert p95_s(requests, 30, 40) is None
