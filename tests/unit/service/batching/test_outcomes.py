"""A run's end is told without holding on to what ran."""

import gc
import weakref
from collections.abc import Sequence

from service.batching.outcomes import fault_of, results_or_error
from service.errors import EngineFailed, Overloaded


class Picture:
    """What a failed run should not keep."""


def runs_out_of_memory(pictures: Sequence[Picture]) -> list[Picture]:
    try:
        raise RuntimeError("the runtime's own words")
    except RuntimeError as error:
        raise MemoryError(str(error)) from error


def test_an_error_and_what_led_to_it_keep_nothing_of_what_failed() -> None:
    """The halves run right after: their memory is needed before the garbage collector comes."""
    gc.disable()
    try:
        picture = Picture()
        watched = weakref.ref(picture)
        error = results_or_error(runs_out_of_memory, [picture])
        del picture
        assert isinstance(error, MemoryError)
        assert watched() is None
    finally:
        gc.enable()


def test_want_of_memory_is_told_as_overload_and_the_rest_as_a_fault() -> None:
    assert isinstance(fault_of(MemoryError()), Overloaded)
    assert isinstance(fault_of(RuntimeError("broken")), EngineFailed)


def test_results_of_another_number_are_a_bug_that_is_told() -> None:
    error = results_or_error(lambda items: [], [1, 2])
    assert isinstance(error, EngineFailed)
    assert "2 items went in, 0 results came out" in str(error)
