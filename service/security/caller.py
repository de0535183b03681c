"""Who is asking. The door that lets a request in says so; what counts images or writes down deeds reads it."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Literal, get_args

from service.security.allowance import Allowance, Rate

Scope = Literal["detect", "admin", "metrics"]
SCOPES: frozenset[Scope] = frozenset(get_args(Scope))


@dataclass(frozen=True, eq=False)
class Caller:
    """name: key/NAME of an API key, token/SUBJECT of a token, anybody where nobody is asked for either."""

    name: str
    scopes: frozenset[Scope]
    allowance: Allowance

    @property
    def shares_as(self) -> str:
        """The name under which it shares the service with others; "" where nobody has one."""
        return "" if self is ANYBODY else self.name


ANYBODY = Caller("anybody", SCOPES, Allowance(Rate()))
UNKNOWN = Caller("unknown", frozenset(), Allowance(Rate()))  # whose key or token did not hold
_current: ContextVar[Caller] = ContextVar("caller", default=ANYBODY)


def current_caller() -> Caller:
    """Who the request under way is from; tasks it starts inherit it."""
    return _current.get()


@contextmanager
def asked_by(caller: Caller) -> Iterator[None]:
    """The block's work is caller's."""
    token = _current.set(caller)
    try:
        yield
    finally:
        _current.reset(token)


def become(caller: Caller) -> None:
    """The rest of this task is caller's: for doors that are called before the work, not around it."""
    _current.set(caller)
