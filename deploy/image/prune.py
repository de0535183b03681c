"""
Take out of an installed environment what a serving pod never opens.

    python3 prune.py SITE_PACKAGES

OpenCV's own linear algebra (OpenBLAS, 42 MB, tuned for matrices we never give it) makes room for Debian's small one.
Every line of UNUSED tells why its files can go. A pattern that matches nothing is an error: the wheel has changed, and
someone should look again. That nothing needed is gone is proved by smoke.sh, which runs both engines in the image.
"""

import shutil
import sys
import sysconfig
from pathlib import Path

UNUSED = {
    "openvino/libs/libopenvino_intel_gpu_plugin.so": "OpenVINO serves CPUs, ONNX Runtime's CUDA build serves GPUs",
    "openvino/libs/libopenvino_intel_npu_*": "no NPU either",
    "openvino/libs/cache.json": "kernels tuned for the GPU plugin",
    "openvino/libs/libopenvino_tensorflow*": "bundles are ONNX",
    "openvino/libs/libopenvino_pytorch*": "bundles are ONNX",
    "openvino/libs/libopenvino_paddle*": "bundles are ONNX",
    "openvino/libs/libopenvino_gguf*": "bundles are ONNX",
    "openvino/libs/libopenvino_jax*": "bundles are ONNX",
    "openvino/libs/libopenvino_hetero_plugin.so": "splits a graph over devices; we have one",
    "openvino/libs/libopenvino_auto_batch_plugin.so": "batches are made by service/batching.py",
    "openvino/libs/libopenvino_auto_plugin.so": "chooses a device; we name the CPU",
    "openvino/libs/libopenvino_c.so.*": "for programs in C",
    "openvino/tools/benchmark": "measures models",
    "openvino/frontend/tensorflow": "bundles are ONNX",
    "openvino/frontend/jax": "bundles are ONNX",
    "openvino/frontend/pytorch": "bundles are ONNX",
    "openvino/frontend/paddle": "bundles are ONNX",
    "openvino/include": "headers",
    "openvino/cmake": "build files",
    "onnxruntime/capi/libonnxruntime.so.*": "for programs in C; the Python module holds the same code once more",
    "onnxruntime/transformers": "tools that rewrite language models",
    "onnxruntime/quantization": "done before a bundle is made",
    "onnxruntime/tools": "done before a bundle is made",
    "numpy/**/tests": "tests",
    "numpy/_core/_simd.*.so": "tests of numpy's own loops",
    "numpy/distutils": "builds extensions in C",
    "numpy/f2py": "builds extensions in Fortran",
    "numpy/_core/include": "headers",
    "PIL/_avif*": "not an image type we accept",
    "pillow.libs/libavif*": "not an image type we accept",
    "google/[!rp_]*": "interfaces of Google's own services; gRPC uses google.rpc and google.protobuf",
    "pygments/lexers/[!_p]*.py": "rich colours Python tracebacks, no other language",
    "pygments/lexers/_*_builtins.py": "rich colours Python tracebacks, no other language",
    "**/*.pyi": "for type checkers",
}


# Both speak the same standard interface, so a link under the old name is all cv2 needs.
OPENCV_LAPACK = "opencv_python_headless.libs/libopenblasp-*.so"
OPENCV_LAPACK_ALONE_NEEDS = ("opencv_python_headless.libs/libgfortran-*", "opencv_python_headless.libs/libquadmath-*")
SYSTEM_LAPACK = Path("/usr/lib", sysconfig.get_config_var("MULTIARCH"), "liblapack.so.3")


def main(site_packages: Path) -> None:
    freed_bytes = 0
    for pattern, reason in UNUSED.items():
        # The image for GPUs has no OpenVINO.
        if pattern.startswith("openvino/") and not (site_packages / "openvino").exists():
            continue
        freed_bytes += sum(remove(path) for path in found(site_packages, pattern, reason))
    for path in found(site_packages, OPENCV_LAPACK, "OpenCV's linear algebra"):
        freed_bytes += remove(path)
        path.symlink_to(SYSTEM_LAPACK)
    for pattern in OPENCV_LAPACK_ALONE_NEEDS:
        freed_bytes += sum(remove(path) for path in found(site_packages, pattern, "what OpenBLAS is linked to"))
    print(f"prune: {freed_bytes / 1e6:.0f} MB taken out of {site_packages}")


def found(site_packages: Path, pattern: str, reason: str) -> list[Path]:
    paths = [path for path in site_packages.glob(pattern) if path.exists()]
    if not paths:
        sys.exit(
            f"prune: nothing matches {pattern!r} ({reason}). The wheel has changed: look at it, then mend this table."
        )
    return paths


def remove(path: Path) -> int:
    freed_bytes = size_of(path)
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    return freed_bytes


def size_of(path: Path) -> int:
    files = [path] if path.is_file() else path.rglob("*")
    return sum(file.lstat().st_size for file in files if not file.is_dir())


if __name__ == "__main__":
    main(Path(sys.argv[1]))
