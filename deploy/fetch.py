"""
Copy bundles from a store into a folder: the init container of the chart's model.source: fetch.

    python fetch.py s3://bucket/models /models maskrcnn-r50/3 blood-cells/1

Any store fsspec knows; the image has s3, gs, http(s) and file. A bundle's manifest.json is read first, and then exactly
the files it lists, each checked against its sha256: no listing of folders, so that a plain web server is store enough.
Keys come from the environment, as each store's own tools take them. Needs nothing of the service.
"""

import hashlib
import json
import sys
from pathlib import Path, PurePosixPath

import fsspec


class FetchFailed(Exception):
    """What could not be had, in one line."""


def main(arguments: list[str]) -> None:
    if len(arguments) < 3:
        sys.exit(f"usage: fetch.py STORE FOLDER BUNDLE...; got {' '.join(arguments) or 'nothing'}")
    store, folder, *bundles = arguments
    try:
        for bundle in bundles:
            print(f"fetch: {bundle}: {fetch_bundle(store, bundle, Path(folder)) / 1e6:.1f} MB", flush=True)
    except FetchFailed as problem:
        sys.exit(f"fetch: {problem}")


def fetch_bundle(store: str, bundle: str, folder: Path) -> int:
    """
    Copy one bundle, NAME/VERSION, into the folder of that name below `folder`; its bytes.

    manifest.json is written last: a folder that has it is whole. Raises FetchFailed.
    """
    source, target = f"{store.rstrip('/')}/{bundle}", folder / bundle
    manifest = read(f"{source}/manifest.json")
    fetched_bytes = len(manifest)
    for name, sha256 in files_of(manifest, f"{source}/manifest.json").items():
        fetched_bytes += copy(f"{source}/{name}", target / name, sha256)
    target.mkdir(parents=True, exist_ok=True)
    (target / "manifest.json").write_bytes(manifest)
    return fetched_bytes


def files_of(manifest: bytes, url: str) -> dict[str, str]:
    """{path: sha256} of what a manifest lists, all inside the bundle."""
    try:
        files: dict[str, str] = json.loads(manifest)["files"]
        outside = [name for name in files if PurePosixPath(name).is_absolute() or ".." in PurePosixPath(name).parts]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise FetchFailed(f"{url} is not the manifest of a bundle: {error}") from error
    if outside:
        raise FetchFailed(f"{url} lists {outside[0]}, which lies outside the bundle")
    return files


def read(url: str) -> bytes:
    try:
        store, path = fsspec.core.url_to_fs(url)
        content: bytes = store.cat_file(path)
    except Exception as error:  # each store has exceptions of its own
        raise FetchFailed(f"{url} cannot be read: {type(error).__name__}: {error}") from error
    return content


def copy(url: str, target: Path, sha256: str) -> int:
    """Copy a file, and remove it again if it is not the one the manifest means."""
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        store, path = fsspec.core.url_to_fs(url)
        store.get_file(path, str(target))
    except Exception as error:  # each store has exceptions of its own, and a disk may be full
        raise FetchFailed(f"{url} cannot be copied: {type(error).__name__}: {error}") from error
    with target.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    if digest != sha256:
        target.unlink()
        raise FetchFailed(f"{url} has sha256 {digest[:12]}..., the manifest says {sha256[:12]}...")
    return target.stat().st_size


if __name__ == "__main__":
    main(sys.argv[1:])
