"""Samples at rest: AES-256-GCM (NIST SP 800-38D), a nonce of its own for each, bound to the name it is kept under."""

import base64
import binascii
import os
import secrets
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

_KEY_BYTES, _NONCE_BYTES = 32, 12


class KeyUnusable(OSError):
    """The file of keys cannot be used; the message says which and why."""


class CannotOpen(ValueError):
    """Sealed with none of the keys, or changed or renamed since."""


class Seal:
    """Seals with the first key, opens with any: a new key goes on top, old ones stay until their samples are gone."""

    def __init__(self, keys: list[bytes]) -> None:
        """keys: 32 bytes each, at least one."""
        self._keys = [AESGCM(key) for key in keys]

    def close(self, name: str, content: bytes) -> bytes:
        """Nonce and ciphertext. name, with the time in it, is sealed too: a renamed sample does not open."""
        nonce = os.urandom(_NONCE_BYTES)
        return nonce + self._keys[0].encrypt(nonce, content, name.encode())

    def open(self, name: str, sealed: bytes) -> bytes:
        """Raises CannotOpen."""
        nonce, ciphertext = sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:]
        for key in self._keys:
            try:
                return key.decrypt(nonce, ciphertext, name.encode())
            except (InvalidTag, ValueError):
                continue
        raise CannotOpen(f"{name}: sealed with another key, or changed since")


def new_key() -> str:
    """A line for the file of keys."""
    return base64.urlsafe_b64encode(secrets.token_bytes(_KEY_BYTES)).decode()


def read_seal(file: Path) -> Seal:
    """Raises KeyUnusable."""
    try:
        lines = file.read_text("ascii").split()
        keys = [base64.b64decode(line, altchars=b"-_", validate=True) for line in lines]
    except (OSError, UnicodeDecodeError, binascii.Error) as error:
        raise KeyUnusable(f"the key of samples in {file.name} cannot be read: {error}") from None
    if not keys or any(len(key) != _KEY_BYTES for key in keys):
        raise KeyUnusable(f"{file.name}: expected a key a line, as rcnn samples key prints them")
    return Seal(keys)
