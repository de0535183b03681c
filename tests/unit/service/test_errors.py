"""The tree of errors and the doors' tables."""

import pytest

from service import errors
from service.api.grpc.errors import CODE
from service.api.rest.errors import STATUS


def leaves(kind: type[errors.ServiceError]) -> list[type[errors.ServiceError]]:
    return [leaf for child in kind.__subclasses__() for leaf in leaves(child)] or [kind]


@pytest.mark.parametrize("error", leaves(errors.ServiceError), ids=lambda error: error.__name__)
@pytest.mark.parametrize("table", [STATUS, CODE], ids=["rest", "grpc"])
def test_every_error_has_an_answer(table: dict[type, object], error: type[errors.ServiceError]) -> None:
    """A new error cannot reach a caller without a status chosen for it."""
    assert error in table


def test_codes_are_unique() -> None:
    """A client may switch on the code alone."""
    codes = [leaf.code for leaf in leaves(errors.ServiceError)]
    assert len(codes) == len(set(codes))


@pytest.mark.parametrize("error", leaves(errors.CallerError), ids=lambda error: error.__name__)
def test_the_callers_faults_are_never_5xx(error: type[errors.ServiceError]) -> None:
    """500 is ours, and never the answer to a bad input."""
    assert 400 <= STATUS[error] < 500
