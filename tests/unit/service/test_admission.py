"""How many may be inside, and who still gets in when everybody else is refused."""

from contextlib import ExitStack

import pytest

from service.admission import Admission
from service.errors import Overloaded


def test_beyond_the_limit_callers_are_refused_with_the_time_to_wait() -> None:
    """Two places: the third is refused until one leaves."""
    counts: list[int] = []
    admission = Admission(2, 0, counts.append)
    with ExitStack() as inside:
        for _ in range(2):
            inside.enter_context(admission.slot(0.0))
        with pytest.raises(Overloaded, match="2 requests are inside") as refused, admission.slot(3.5):
            pass
        assert refused.value.retry_after_s == 3.5
    with admission.slot(0.0):
        assert counts == [1, 2, 1, 0, 1]


def test_high_priority_has_places_of_its_own_and_then_queues_like_everybody() -> None:
    """One place for each: the first high one goes first, the second takes a normal place, the third is refused."""
    admission = Admission(1, 1, lambda _: None)
    with admission.slot(0.0, True) as first, admission.slot(0.0, True) as second:
        assert (first, second) == (True, False)
        with pytest.raises(Overloaded), admission.slot(0.0, True):
            pass


def test_without_high_places_everybody_is_equal() -> None:
    """The setting at 0 turns priority off."""
    with Admission(1, 0, lambda _: None).slot(0.0, True) as goes_first:
        assert not goes_first


def test_a_caller_with_its_share_leaves_the_last_places_to_others() -> None:
    """Of 16 places one caller gets 14, however many it wants; another still finds one."""
    admission = Admission(16, 0, lambda _: None)
    with ExitStack() as inside:
        for _ in range(14):
            inside.enter_context(admission.slot(0.0, caller="key/flood"))
        with pytest.raises(Overloaded, match="14 of them yours"):
            admission.check(0.0, caller="key/flood")
        inside.enter_context(admission.slot(0.0, caller="key/other"))
        inside.enter_context(admission.slot(0.0, caller="key/other"))
        with pytest.raises(Overloaded, match="16 requests are inside, the most allowed"):
            admission.check(0.0, caller="key/other")


def test_callers_without_a_name_have_all_the_places() -> None:
    """Where nobody is asked for a key there is nobody to keep places for."""
    admission = Admission(16, 0, lambda _: None)
    with ExitStack() as inside:
        for _ in range(16):
            inside.enter_context(admission.slot(0.0))
        with pytest.raises(Overloaded):
            admission.check(0.0)


def test_several_canvases_take_several_places() -> None:
    """Of four places three are taken: two more are refused, one is let in; six of four are let in alone."""
    counts: list[int] = []
    admission = Admission(4, 0, counts.append)
    with admission.slot(0.0, places=3):
        with pytest.raises(Overloaded), admission.slot(0.0, places=2):
            pass
        with admission.slot(0.0):
            assert counts[-1] == 4
    with admission.slot(0.0, places=6), pytest.raises(Overloaded), admission.slot(0.0):
        pass
    assert counts[-1] == 0
