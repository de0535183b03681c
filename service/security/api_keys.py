"""
API keys: NAME.SECRET with the caller, in the file only NAME, the SHA-256 of the whole key, and what it may do.

A fast hash is right here because the secret is 256 random bits of our own making: nobody can guess through it, and a
request must not pay for a slow one (https://cheatsheetseries.owasp.org/cheatsheets/Password_Storage_Cheat_Sheet.html
asks for slow hashes where people choose the secret).
"""

import hashlib
import hmac
import re
import secrets
import tomllib
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, RootModel, ValidationError

from service.errors import Unauthenticated
from service.security.allowance import Rate
from service.security.caller import SCOPES, Scope
from service.security.watched import FileUnusable, Watched

NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,62}")
_REREAD_S = 1.0  # a key taken out of the file is refused within this time
_WRONG = "This key is not valid here."


class _Entry(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    sha256: str = Field(pattern="^[0-9a-f]{64}$")
    scopes: frozenset[Scope] = Field(min_length=1)
    images_per_s: float | None = Field(None, ge=0)
    burst: int = Field(0, ge=0)
    images_per_day: int | None = Field(None, ge=0)
    expires: date | None = None  # the first day it is refused, UTC


class _File(RootModel[dict[str, _Entry]]):
    pass


@dataclass(frozen=True)
class Key:
    """What a valid key stands for."""

    name: str
    scopes: frozenset[Scope]
    rate: Rate


class KeyFile:
    """The keys of a TOML file, read anew when it changes. default: the rate of a key that names none."""

    def __init__(self, path: Path, default: Rate) -> None:
        """Raises FileUnusable."""
        self._default = default
        self._entries = Watched([path], lambda: _read(path), _REREAD_S)

    def find(self, key: str) -> Key:
        """What key stands for. Raises Unauthenticated, in the same time and words whatever is wrong with it."""
        name = key.partition(".")[0]
        entry = self._entries.now().get(name)
        digest = hashlib.sha256(key.encode()).hexdigest()
        if not hmac.compare_digest(digest, entry.sha256 if entry else "0" * 64) or entry is None:
            raise Unauthenticated(_WRONG)
        if entry.expires is not None and datetime.now(UTC).date() >= entry.expires:
            raise Unauthenticated("This key has expired.")
        rate = Rate(
            self._default.images_per_s if entry.images_per_s is None else entry.images_per_s,
            entry.burst,
            self._default.images_per_day if entry.images_per_day is None else entry.images_per_day,
        )
        return Key(name, entry.scopes, rate)


def new_key(name: str) -> tuple[str, str]:
    """A new key for name and its hash for the file: 256 bits from the operating system. Raises ValueError."""
    if not NAME.fullmatch(name):
        raise ValueError(f"{name!r}: expected lower-case letters, digits and dashes, at most 63")
    key = f"{name}.{secrets.token_urlsafe(32)}"
    return key, hashlib.sha256(key.encode()).hexdigest()


def entry_of(name: str, sha256: str, scopes: list[str]) -> str:
    """The lines of the file for one key. Raises ValueError if a scope does not exist."""
    if unknown := set(scopes) - SCOPES:
        raise ValueError(f"no scope {', '.join(sorted(unknown))}; there are {', '.join(sorted(SCOPES))}")
    listed = ", ".join(f'"{scope}"' for scope in scopes)
    return f'[{name}]\nsha256 = "{sha256}"\nscopes = [{listed}]\n'


def _read(path: Path) -> dict[str, _Entry]:
    try:
        parsed: dict[str, Any] = tomllib.loads(path.read_text())
        entries = _File.model_validate(parsed).root
    except OSError as error:
        raise FileUnusable(f"cannot read {path.name}: {error.strerror}") from None
    except ValidationError as error:
        first = error.errors(include_input=False)[0]
        raise FileUnusable(f"{path.name}: {'.'.join(map(str, first['loc']))}: {first['msg']}") from None
    except ValueError as error:  # not TOML, or not UTF-8
        raise FileUnusable(f"{path.name}: {error}") from None
    for name in entries:
        if not NAME.fullmatch(name):
            raise FileUnusable(f"{path.name}: {name!r:.80}: expected lower-case letters, digits and dashes, at most 63")
    return entries
