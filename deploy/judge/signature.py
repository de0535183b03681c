"""Verdicts that show who gave them: Ed25519 over the document's canonical JSON."""

import base64
import json
from pathlib import Path
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    load_pem_private_key,
    load_pem_public_key,
)

ALGORITHM = "ed25519"


class SignatureInvalid(ValueError):
    """The document is not what was signed, or was not signed by that key."""


def signed(document: dict[str, Any], key_file: Path) -> dict[str, Any]:
    """document with a signature by the PEM key in key_file. Raises ValueError if that is no Ed25519 private key."""
    key = load_pem_private_key(key_file.read_bytes(), None)
    if not isinstance(key, Ed25519PrivateKey):
        raise ValueError(f"{key_file}: expected an Ed25519 key, as `openssl genpkey -algorithm ed25519` makes it")
    value = base64.b64encode(key.sign(_canonical(document))).decode("ascii")
    return {**document, "signature": {"algorithm": ALGORITHM, "value": value}}


def verify(document: dict[str, Any], key_file: Path) -> dict[str, Any]:
    """The document without its signature, which is by the key whose public PEM is in key_file, or SignatureInvalid."""
    key = load_pem_public_key(key_file.read_bytes())
    if not isinstance(key, Ed25519PublicKey):
        raise ValueError(f"{key_file}: expected an Ed25519 public key, as `openssl pkey -pubout` writes it")
    bare = {name: value for name, value in document.items() if name != "signature"}
    signature = document.get("signature")
    if not isinstance(signature, dict) or signature.get("algorithm") != ALGORITHM:
        raise SignatureInvalid(f"no {ALGORITHM} signature")
    try:
        key.verify(base64.b64decode(str(signature.get("value")), validate=True), _canonical(bare))
    except (InvalidSignature, ValueError) as error:
        raise SignatureInvalid("the signature does not hold: another key, or the document was changed") from error
    return bare


def _canonical(document: dict[str, Any]) -> bytes:
    return json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=True).encode("ascii")
