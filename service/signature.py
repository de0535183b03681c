"""
Whose bundles are served: `manifest.sig` is the Ed25519 signature (RFC 8032) of manifest.json's bytes.

The manifest lists every other file with its sha256, so signing it signs them all. OpenSSL makes keys and signatures.
"""

import re
from pathlib import Path

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from service.errors import BundleInvalid

FILE = "manifest.sig"
_PEM = re.compile(rb"-----BEGIN PUBLIC KEY-----.+?-----END PUBLIC KEY-----", re.DOTALL)
_SIGNATURE_BYTES = 64


class TrustedSigners:
    """The public keys in a PEM file, one or more; read for each bundle, so that a new key needs no restart."""

    def __init__(self, file: Path) -> None:
        self._file = file

    def check(self, root: Path, manifest: bytes) -> None:
        """Raises BundleInvalid unless one of them signed the manifest of the bundle in root."""
        keys = self._keys()
        path = root / FILE
        if not path.is_file():
            raise BundleInvalid(f"{root} has no {FILE}, and only signed bundles are served here")
        if path.stat().st_size != _SIGNATURE_BYTES:
            raise BundleInvalid(f"{path}: expected {_SIGNATURE_BYTES} bytes, as openssl pkeyutl -sign -rawin writes")
        signature = path.read_bytes()
        if not any(_holds(key, signature, manifest) for key in keys):
            raise BundleInvalid(f"{root}: its manifest was signed by no key of {self._file.name}, or changed since")

    def _keys(self) -> list[Ed25519PublicKey]:
        try:
            keys = [load_pem_public_key(pem) for pem in _PEM.findall(self._file.read_bytes())]
        except (OSError, ValueError) as error:
            raise BundleInvalid(f"the keys of signers in {self._file.name} cannot be read: {error}") from None
        ed25519 = [key for key in keys if isinstance(key, Ed25519PublicKey)]
        if not ed25519 or len(ed25519) != len(keys):
            raise BundleInvalid(f"{self._file.name}: expected Ed25519 public keys in PEM (openssl pkey -pubout)")
        return ed25519


def _holds(key: Ed25519PublicKey, signature: bytes, manifest: bytes) -> bool:
    try:
        key.verify(signature, manifest)
    except InvalidSignature:
        return False
    return True
