"""How many images a caller may ask for: a token bucket by the second, a quota by the day (UTC). Of this process."""

import math
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

from service.errors import QuotaExceeded, RateLimited

_DAY_S = 86_400
_MOST_CALLERS = 10_000  # remembered: the one seen longest ago is forgotten, and starts afresh


@dataclass(frozen=True)
class Rate:
    """0: no limit. burst: images a caller who has been quiet may ask for at once."""

    images_per_s: float = 0.0
    burst: int = 0
    images_per_day: int = 0

    @property
    def bucket(self) -> float:
        """Tokens a full bucket holds, at least one."""
        return max(1.0, float(self.burst or math.ceil(self.images_per_s)))


class Allowance:
    """One caller's. Clocks are those of `time`: monotonic seconds, and seconds since 1970."""

    def __init__(
        self, rate: Rate, monotonic: Callable[[], float] = time.monotonic, wall: Callable[[], float] = time.time
    ) -> None:
        self._rate, self._monotonic, self._wall = rate, monotonic, wall
        self._tokens, self._filled_s = rate.bucket, monotonic()
        self._day, self._today = int(wall() // _DAY_S), 0

    def check(self) -> None:
        """Raises RateLimited or QuotaExceeded, with the seconds to wait, if an image that came now would be refused."""
        if self._rate.images_per_s:
            self._fill()
            if self._tokens < 1:
                wait_s = (1 - self._tokens) / self._rate.images_per_s
                raise RateLimited(f"At most {self._rate.images_per_s:g} images a second for this key.", wait_s)
        if self._rate.images_per_day:
            wall_s = self._wall()
            day = int(wall_s // _DAY_S)
            if day > self._day:  # a clock set back does not give a second day
                self._day, self._today = day, 0
            if self._today >= self._rate.images_per_day:
                wait_s = (self._day + 1) * _DAY_S - wall_s
                raise QuotaExceeded(f"The {self._rate.images_per_day} images of this key for today are used.", wait_s)

    def charge(self, images: int = 1) -> None:
        """Take that many; what is more than there was is owed, and waited for by the next. Raises as check does."""
        self.check()
        self._tokens -= images
        self._today += images

    def _fill(self) -> None:
        now_s = self._monotonic()
        self._tokens = min(self._rate.bucket, self._tokens + (now_s - self._filled_s) * self._rate.images_per_s)
        self._filled_s = now_s


class Allowances:
    """Everybody's, by name; a caller whose rate was changed starts with a full bucket."""

    def __init__(self) -> None:
        self._kept: OrderedDict[tuple[str, Rate], Allowance] = OrderedDict()

    def of(self, name: str, rate: Rate) -> Allowance:
        key = (name, rate)
        found = self._kept.get(key)
        if found is None:
            found = self._kept[key] = Allowance(rate)
            if len(self._kept) > _MOST_CALLERS:
                self._kept.popitem(last=False)
        self._kept.move_to_end(key)
        return found
