"""
Write the bill of materials of an image, CycloneDX 1.5 as JSON.

    python3 sbom.py OUT STATUS.D UV_ARGUMENT...      in a folder with pyproject.toml and uv.lock

The Python part is uv's export of the lock for those arguments, with the hash of each wheel. The system's part are the
records that rootfs.py left of each Debian package. The same input gives the same bytes: no clock, nothing random.
"""

import json
import subprocess
import sys
from email.parser import HeaderParser
from pathlib import Path
from typing import Any

EXPORT = (
    "uv",
    "export",
    "-q",
    "--frozen",
    "--no-emit-project",
    "--preview-features=sbom-export",
    "--format=cyclonedx1.5",
)


def main(out: Path, records: Path, uv_arguments: list[str]) -> None:
    exported = subprocess.run([*EXPORT, *uv_arguments], check=True, capture_output=True, text=True)
    bill = json.loads(exported.stdout)
    bill.pop("serialNumber", None)
    bill["metadata"].pop("timestamp", None)
    bill["components"] += [component(record.read_text()) for record in sorted(records.iterdir())]
    out.write_text(json.dumps(bill, indent=1) + "\n")


def component(record: str) -> dict[str, Any]:
    """A Debian package from its dpkg record (deb822, RFC 822's headers), named by its package URL."""
    package = HeaderParser().parsestr(record)
    name, version, architecture = package["Package"], package["Version"], package["Architecture"]
    purl = f"pkg:deb/debian/{name}@{version.replace(':', '%3A').replace('+', '%2B')}?arch={architecture}"
    return {"type": "library", "bom-ref": purl, "name": name, "version": version, "purl": purl}


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3:])
