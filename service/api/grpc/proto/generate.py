"""`make proto`: the Python code of the .proto files beside this, written into a folder that stands for the root."""

import sys
from importlib import resources
from pathlib import Path

from grpc_tools import protoc

_ROOT = Path(__file__).parents[4]
_SOURCES = sorted(str(path.relative_to(_ROOT)) for path in Path(__file__).parent.glob("*.proto"))


def generate(out: Path) -> None:
    """Write out/service/api/grpc/proto/*_pb2.py and their companions. Raises SystemExit if protoc refuses."""
    well_known = resources.files("grpc_tools") / "_proto"
    includes = [f"-I{folder}" for folder in (_ROOT, well_known)]
    code = protoc.main(
        ["protoc", *includes, f"--python_out={out}", f"--pyi_out={out}", f"--grpc_python_out={out}", *_SOURCES]
    )
    if code:
        raise SystemExit(code)


if __name__ == "__main__":
    generate(Path(sys.argv[1]) if len(sys.argv) > 1 else _ROOT)
