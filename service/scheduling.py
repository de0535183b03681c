"""Asks the kernel to let the event loop run soon after it wakes, though other threads keep every processor busy."""

import ctypes
import os
import platform

_SLICE_NS = 100_000
"""The least that may be asked for. A thread that asks for less at a time is let in before those in the middle of the
kernel's own 3 to 6 ms (EEVDF, `sched_runtime` in sched_setattr(2), Linux 6.12); its share stays what it was."""
_SYSCALL = {"x86_64": 314, "aarch64": 274}  # sched_setattr
_RESET_ON_FORK = 1  # threads made by this one have the kernel's own slices again


class _Attributes(ctypes.Structure):
    """struct sched_attr as of its first version, sched_setattr(2)."""

    _fields_ = (
        ("size", ctypes.c_uint32),
        ("policy", ctypes.c_uint32),
        ("flags", ctypes.c_uint64),
        ("nice", ctypes.c_int32),
        ("priority", ctypes.c_uint32),
        ("runtime_ns", ctypes.c_uint64),
        ("deadline_ns", ctypes.c_uint64),
        ("period_ns", ctypes.c_uint64),
    )


def ask_for_short_slices() -> bool:
    """For the calling thread; whether the kernel took it. Older kernels, and other policies, change nothing."""
    number = _SYSCALL.get(platform.machine())
    if platform.system() != "Linux" or number is None or os.sched_getscheduler(0) != os.SCHED_OTHER:
        return False
    nice = os.getpriority(os.PRIO_PROCESS, 0)
    wish = _Attributes(ctypes.sizeof(_Attributes), os.SCHED_OTHER, _RESET_ON_FORK, nice, 0, _SLICE_NS, 0, 0)
    return bool(ctypes.CDLL(None).syscall(number, 0, ctypes.byref(wish), 0) == 0)
