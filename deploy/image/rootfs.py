"""
Copy just the system packages that Python and our wheels need into an empty root.

    python3 rootfs.py ROOT [PACKAGE ...]

Runs in the build stage, on Debian. The packages named, the ones that own this Python, and what they depend on are
copied file by file. apt, perl, dpkg and every shell stay behind: 60 MB for 275, and little for an intruder to run.
Each package's record goes to ROOT/var/lib/dpkg/status.d, where scanners look in images without dpkg.
"""

import re
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

# Dependencies of packages we take that serve to install, to be typed at, or modules nobody imports.
LEFT_OUT = {
    "dpkg",  # wanted by readline-common for its install script
    "readline-common",  # key bindings of an interactive prompt
    "gcc-12-base",  # a changelog
    "libdb5.3",  # Python's dbm module
    "libnsl2",  # Python's nis module
    "libtirpc3",  # the same; it would bring Kerberos
    "libsqlite3-0",  # Python's sqlite3 module
}

# Parts of a package that nobody reads in a pod.
UNREAD = re.compile(
    r"/usr/share/(doc|man|lintian|locale|info|gdb)/"
    r"|/gconv/"  # character sets for C programs; Python brings its own
    r"|/usr/lib/python3[^/]*/(pydoc_data|lib2to3|ensurepip|test)/"
)

PASSWD = "root:x:0:0:root:/root:/nonexistent\nrcnn:x:10001:10001:rcnn:/app:/nonexistent\n"  # nosec B105  # /etc/passwd, which holds none
GROUP = "root:x:0:\nrcnn:x:10001:\n"
NSSWITCH = "passwd: files\ngroup: files\nhosts: files dns\n"


def main(root: Path, wanted: list[str]) -> None:
    copy_layout(root)
    for package in closure([*wanted, *owners_of_python()]):
        copy_package(root, package)
    link_alternatives(root)
    write_etc(root)
    name_python(root)


def copy_layout(root: Path) -> None:
    """The directories every program expects, and Debian's links from /lib to /usr/lib, before any file lands there."""
    for directory in ("usr", "etc", "tmp", "proc", "sys", "dev", "run", "var/lib/dpkg/status.d"):
        (root / directory).mkdir(parents=True, exist_ok=True)
    (root / "tmp").chmod(0o1777)
    for link in (
        path for path in Path("/").iterdir() if path.is_symlink() and path.name.startswith(("lib", "bin", "sbin"))
    ):
        target = link.readlink()
        (root / "usr" / target.name).mkdir(parents=True, exist_ok=True)
        (root / link.name).symlink_to(target)


def owners_of_python() -> list[str]:
    """The packages that hold this interpreter and its standard library."""
    standard_library = Path(sysconfig.get_path("stdlib"))
    files = [Path(sys.executable).resolve(), standard_library / "os.py", standard_library / "asyncio/__init__.py"]
    return [dpkg("-S", str(file)).split(":")[0] for file in files]


def closure(packages: list[str]) -> list[str]:
    """The packages and all that they depend on, as installed here; where there are alternatives, those present."""
    rows = query("-W", "-f", "${Package}\t${Pre-Depends}, ${Depends}\n").splitlines()
    depends = {row.split("\t")[0]: names_in(row.split("\t")[1]) for row in rows}
    taken: list[str] = []
    waiting = list(packages)
    while waiting:
        package = waiting.pop()
        if package in depends and package not in taken and package not in LEFT_OUT:
            taken.append(package)
            waiting += depends[package]
    return sorted(taken)


def names_in(depends: str) -> list[str]:
    """`libc6 (>= 2.34), a:any | b` -> libc6, a, b."""
    without_versions = re.sub(r"\([^)]*\)", "", depends)
    return [name.strip().split(":")[0] for name in re.split(r"[,|]", without_versions) if name.strip()]


def copy_package(root: Path, package: str) -> None:
    for name in dpkg("-L", package).splitlines():
        source = Path(name)
        target = root / name.lstrip("/")
        is_directory = target.is_dir() or (source.is_dir() and not source.is_symlink())
        if is_directory or UNREAD.search(name) or not source.exists():
            continue
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(source, target, follow_symlinks=False)
    (root / "var/lib/dpkg/status.d" / package).write_text(query("-s", package))


def link_alternatives(root: Path) -> None:
    """Libraries that Debian offers in several makes (BLAS, LAPACK) are found through links no package owns."""
    for link in Path("/usr/lib").glob("*/*.so*"):
        if link.is_symlink() and link.readlink().is_relative_to("/etc/alternatives"):
            chosen = link.resolve()
            if (root / chosen.relative_to("/")).exists():
                (root / link.relative_to("/")).symlink_to(chosen)


def write_etc(root: Path) -> None:
    (root / "etc/passwd").write_text(PASSWD)
    (root / "etc/group").write_text(GROUP)
    (root / "etc/nsswitch.conf").write_text(NSSWITCH)
    for file in ("usr/lib/os-release", "etc/debian_version", "etc/ssl/certs/ca-certificates.crt"):
        (root / file).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(Path("/") / file, root / file)
    if not (root / "etc/os-release").exists():
        (root / "etc/os-release").symlink_to("../usr/lib/os-release")
    # The loader's table of libraries, made here because ldconfig does not come along.
    subprocess.run(["ldconfig", "-r", str(root)], check=True)


def name_python(root: Path) -> None:
    """/usr/bin/python3 belongs to a package we leave behind; the virtual environment points at it."""
    python = root / "usr/bin/python3"
    if not python.exists():
        python.symlink_to(Path(sys.executable).resolve().name)


def dpkg(*arguments: str) -> str:
    return output("dpkg", *arguments)


def query(*arguments: str) -> str:
    return output("dpkg-query", *arguments)


def output(*command: str) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
