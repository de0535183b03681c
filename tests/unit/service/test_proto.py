"""Generated code."""

from pathlib import Path

import pytest

from service.api.grpc.proto import generate

FOLDER = Path(generate.__file__).parent


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of the generator itself
def test_make_proto_gives_what_is_committed(tmp_path: Path) -> None:
    """Byte for byte, each of the generated files and no other."""
    generate.generate(tmp_path)
    made = {path.name: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    committed = {path.name for pattern in ("*_pb2.py", "*_pb2.pyi", "*_pb2_grpc.py") for path in FOLDER.glob(pattern)}
    assert set(made) == committed
    for name, content in made.items():
        assert content == (FOLDER / name).read_bytes(), f"{name} differs: run make proto"
