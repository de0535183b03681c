"""Bundles signed with the real openssl, and what is not."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from service.bundle import Bundle, read_bundle, write_bundle
from service.errors import BundleInvalid
from service.signature import TrustedSigners
from tests.conftest import MANIFEST


def openssl(*arguments: str) -> None:
    subprocess.run(["openssl", *arguments], check=True, capture_output=True)


def new_key(folder: Path, name: str) -> tuple[Path, Path]:
    """Private and public PEM."""
    private, public = folder / f"{name}.pem", folder / f"{name}.pub"
    openssl("genpkey", "-algorithm", "ed25519", "-out", str(private))
    openssl("pkey", "-in", str(private), "-pubout", "-out", str(public))
    return private, public


def sign(root: Path, private: Path) -> None:
    """As docs and SECURITY.md say it."""
    manifest, signature = str(root / "manifest.json"), str(root / "manifest.sig")
    openssl("pkeyutl", "-sign", "-rawin", "-inkey", str(private), "-in", manifest, "-out", signature)


@pytest.fixture
def copy(toy_bundle: Bundle, tmp_path: Path) -> Path:
    return Path(shutil.copytree(toy_bundle.root, tmp_path / "toy"))


def test_a_bundle_signed_by_one_of_those_trusted_is_read(copy: Path, tmp_path: Path) -> None:
    """Two keys in one file: while one follows the other, both hold. Unsigned still works where nobody asks."""
    (first, first_pub), (second, second_pub) = new_key(tmp_path, "first"), new_key(tmp_path, "second")
    trusted = tmp_path / "signers.pem"
    trusted.write_bytes(first_pub.read_bytes() + b"comment\n" + second_pub.read_bytes())
    for private in (first, second):
        sign(copy, private)
        assert read_bundle(copy, TrustedSigners(trusted)).manifest.name == "toy"
        assert read_bundle(copy).manifest.name == "toy"


def test_others_are_refused_with_the_reason(copy: Path, tmp_path: Path) -> None:
    """No signature, another's, a manifest changed after signing, a signature that is none, keys that are none."""
    (mine, public), (stranger, _) = new_key(tmp_path, "mine"), new_key(tmp_path, "stranger")
    signers = TrustedSigners(public)
    with pytest.raises(BundleInvalid, match=r"has no manifest\.sig"):
        read_bundle(copy, signers)
    sign(copy, stranger)
    with pytest.raises(BundleInvalid, match="signed by no key"):
        read_bundle(copy, signers)
    sign(copy, mine)
    manifest = copy / "manifest.json"
    manifest.write_bytes(manifest.read_bytes() + b"\n")
    with pytest.raises(BundleInvalid, match="or changed since"):
        read_bundle(copy, signers)
    (copy / "manifest.sig").write_bytes(b"x")
    with pytest.raises(BundleInvalid, match="expected 64 bytes"):
        read_bundle(copy, signers)
    public.write_bytes(b"nothing")
    with pytest.raises(BundleInvalid, match="expected Ed25519"):
        read_bundle(copy, signers)
    os.remove(public)
    with pytest.raises(BundleInvalid, match="cannot be read"):
        read_bundle(copy, signers)


def test_a_file_changed_after_signing_is_refused(copy: Path, tmp_path: Path) -> None:
    """The manifest holds every file's sha256, so the signature holds every file."""
    private, public = new_key(tmp_path, "mine")
    sign(copy, private)
    (copy / "detector.onnx").write_bytes(b"another model")
    with pytest.raises(BundleInvalid, match="the manifest says"):
        read_bundle(copy, TrustedSigners(public))


def test_writing_a_bundle_does_not_list_its_signature(copy: Path, tmp_path: Path) -> None:
    """A signature of a manifest cannot be in that manifest."""
    sign(copy, new_key(tmp_path, "mine")[0])
    assert "manifest.sig" not in write_bundle(copy, MANIFEST).manifest.files
