"""
Put empty stand-ins in the place of shared libraries that are linked to but never called.

    python3 hollow.py SITE_PACKAGES

OpenCV's wheel is linked to FFmpeg, for video, which no image ever touches: 32 MB with what FFmpeg needs in
turn. The loader wants to find every name, so each library is made anew with the names that are asked for, under the
versions that are asked for, and functions that end the process with a message. Needs gcc and readelf; runs in the build
stage.
"""

import re
import subprocess
import sys
import tempfile
from pathlib import Path

LIBS = "opencv_python_headless.libs"
USER = "cv2/cv2.abi3.so"
HOLLOWED = ("libavcodec-*", "libavformat-*", "libavutil-*", "libswscale-*")
THEIRS_ALONE = ("libvpx-*", "libssl-*", "libcrypto-*", "libdrm-*", "libswresample-*")
"""What only FFmpeg is linked to, users before used; checked before it goes."""

# ... 12: 0000000000000000     0 FUNC    GLOBAL DEFAULT  UND av_free@LIBAVUTIL_60 (11)
UNDEFINED = re.compile(r"\s(\w+)\s+(?:GLOBAL|WEAK)\s+DEFAULT\s+UND\s+([A-Za-z_]\w*)@(\w+)")


def main(site_packages: Path) -> None:
    folder, freed_bytes = site_packages / LIBS, 0
    versions = wanted_by(site_packages / USER)
    for pattern in HOLLOWED:
        (library,) = folder.glob(pattern)
        freed_bytes += library.stat().st_size
        hollow_out(library, versions)
        freed_bytes -= library.stat().st_size
    for pattern in THEIRS_ALONE:
        for library in folder.glob(pattern):
            if library.name not in needed_in(site_packages):
                freed_bytes += library.stat().st_size
                library.unlink()
    print(f"hollow: {freed_bytes / 1e6:.0f} MB taken out of {folder}")


def wanted_by(user: Path) -> dict[str, list[str]]:
    """{version: functions} that a library takes from elsewhere under a version, such as LIBAVUTIL_60."""
    versions: dict[str, list[str]] = {}
    for kind, name, version in UNDEFINED.findall(output("readelf", "--dyn-syms", "--wide", str(user))):
        if version.startswith(("LIBAV", "LIBSW")):
            if kind not in ("FUNC", "NOTYPE"):
                sys.exit(f"hollow: {user.name} takes {name} from FFmpeg, a {kind}: a stand-in has functions only")
            versions.setdefault(version, []).append(name)
    return versions


def hollow_out(library: Path, versions: dict[str, list[str]]) -> None:
    """Replace it by a library of the same name and versions, whose functions end the process."""
    prefix = library.name.split("-")[0].upper()  # libavutil-1234.so.60 -> LIBAVUTIL
    mine = {version: names for version, names in versions.items() if version.rpartition("_")[0] == prefix}
    if not mine:
        sys.exit(
            f"hollow: nothing in {USER} is of {library.name}. The wheel has changed: look at it, then mend this file."
        )
    with tempfile.TemporaryDirectory() as scratch:
        source, script = Path(scratch, "hollow.c"), Path(scratch, "hollow.map")
        source.write_text(c_of(library.name, [name for names in mine.values() for name in names]))
        script.write_text("".join(f"{version} {{ global: {'; '.join(names)}; }};\n" for version, names in mine.items()))
        subprocess.run(
            ["gcc", "-shared", "-fPIC", "-Os", "-s", "-fno-builtin", "-w", f"-Wl,-soname,{library.name}",
             f"-Wl,--version-script={script}", "-o", str(library), str(source)],
            check=True,
        )  # fmt: skip


def c_of(library: str, functions: list[str]) -> str:
    stop = (
        f'static void stop(void) {{ fputs("{library} was left out of this image: no video\\n", stderr); abort(); }}\n'
    )
    return f"#include <stdio.h>\n#include <stdlib.h>\n{stop}" + "".join(
        f"void {name}(void) {{ stop(); }}\n" for name in functions
    )


def needed_in(site_packages: Path) -> set[str]:
    """Names of the libraries that cv2 and its remaining companions are linked to."""
    files = [site_packages / USER, *(site_packages / LIBS).iterdir()]
    return {
        name for file in files for name in re.findall(r"NEEDED.*\[(.+)\]", output("readelf", "--dynamic", str(file)))
    }


def output(*command: str) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


if __name__ == "__main__":
    main(Path(sys.argv[1]))
