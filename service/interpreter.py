"""The Python interpreter's own pauses, made short: a refusal is promised within milliseconds, whatever else runs."""

import gc
import sys

_SWITCH_INTERVAL_S = 0.0005
"""How long the event loop waits for the interpreter's lock while a thread holds it; Python's own 5 ms, met two or three
times on the way of one request, are most of what a refusal may take."""
_NEW_CONTAINERS, _YOUNG_PASSES, _MIDDLE_PASSES = 20_000, 20, 20
"""Requests leave no garbage in circles behind, so passes over what lives are nearly all for nothing. Python's own
thresholds (700, 10, 10) make one of 3 to 6 ms every second, and some of 16."""


def keep_pauses_short() -> None:
    """To be called once all is loaded: what exists by then is never looked at again by the garbage collector."""
    sys.setswitchinterval(_SWITCH_INTERVAL_S)
    gc.collect()
    gc.freeze()  # a full pass over what start-up built stalls every request for 0.1 s
    gc.set_threshold(_NEW_CONTAINERS, _YOUNG_PASSES, _MIDDLE_PASSES)
