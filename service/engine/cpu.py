"""What this CPU can do: part of the key under which compiled graphs are kept, and the choice of precision."""

import platform
from pathlib import Path

_CPUINFO = Path("/proc/cpuinfo")
_BF16 = frozenset({"avx512_bf16", "amx_bf16", "bf16"})  # x86 vectors, x86 tiles, Arm


def cpu_features(cpuinfo: Path = _CPUINFO) -> frozenset[str]:
    """The instruction set flags Linux reports; where it reports none, the machine's architecture alone."""
    try:
        lines = cpuinfo.read_text().splitlines()
    except OSError:
        lines = []
    for line in lines:
        name, _, value = line.partition(":")
        if name.strip() in ("flags", "Features"):
            return frozenset(value.split())
    return frozenset({platform.machine()})


def has_bf16(features: frozenset[str]) -> bool:
    """Whether bf16 is computed natively; emulated it would be slower than fp32."""
    return bool(features & _BF16)
