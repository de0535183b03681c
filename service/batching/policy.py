"""
Which batch goes next. Read `Policy.next_batch` from the top: it is the whole rule.

Nothing here knows a clock, a thread or an image; the simulator and the live batcher call the same lines.
"""

from collections import Counter
from collections.abc import Hashable
from dataclasses import dataclass, replace
from typing import Generic

from service.batching.cost import CostModel, Size
from service.batching.queue import Item, Line, Queue, Waiting, size_of

PATIENCE_BATCHES = 16
"""How often a line may be passed over before it goes next, however little it holds."""
TRUST_BATCHES = 256
"""Batches after which an engine that ran out of memory is trusted with twice as many pixels again."""
HIGH_IN_A_ROW = 24
"""Batches led by high priority while others wait, before one of those others leads."""
_HIGH_SLOWED = 1.25  # how much longer a high-priority batch may take for the company it is filled up with
_OWED_SLOWED = 1.4  # the same for those who have had less than their share
_EXPLORE_EVERY = 64  # batches of a canvas: one of another size
_EXPLORE_AT_FIRST = 16  # the same, while that many have not run


@dataclass(frozen=True)
class Budget:
    """What one batch may hold. A single image over the pixel budget still runs, alone."""

    max_items: int
    max_pixels: int

    def images(self, pixels: int) -> int:
        """How many images of so many padded pixels fit."""
        return max(1, min(self.max_items, self.max_pixels // max(pixels, 1)))


@dataclass(frozen=True)
class _Plan(Generic[Item]):
    """What would run if a line went next."""

    line: Line[Item]
    images: int
    fullness: float  # images per second, as a share of what this canvas can reach at best
    start_by: float  # later than this, somebody's deadline is missed


class Policy:
    """The rule, with the little it has to remember."""

    def __init__(self, cost: CostModel, budget: Budget) -> None:
        self._cost, self._budget, self._whole_budget = cost, budget, budget
        self.fills_batches = False  # whatever that gains
        self._ran_well = 0
        self._highs_in_a_row = 0
        self._ran = Counter[Hashable]()  # batches by canvas

    def next_batch(self, queue: Queue[Item], now: float, most: int) -> list[Waiting[Item]]:
        """Take the next batch out of queue, of at most so many images; empty only if queue is."""
        lines = self._lines_in_turn(queue)
        if not lines:
            return []
        if len(queue) == 1:  # nothing to weigh up
            self._ran[lines[0].canvas] += 1
            return queue.take(lines[0], 1)
        plan = min((self._plan(line, queue, now) for line in lines), key=lambda plan: self._order(plan, queue, now))
        served = [plan.line]
        batch = queue.take(plan.line, min(self._to_run(plan, now), most))
        company = queue.line(plan.line.canvas, high=False) if plan.line.high else None
        if company is not None and (more := min(self._room_beside(batch, company), most - len(batch))):
            batch += queue.take(company, more)
            served.append(company)
        for line in queue.lines():
            line.passed_over += line not in served
        return batch

    def ran(self) -> None:
        """A batch went well."""
        self._ran_well += 1
        if self._ran_well >= TRUST_BATCHES and self._budget != self._whole_budget:
            self._ran_well = 0
            self._budget = replace(
                self._budget, max_pixels=min(2 * self._budget.max_pixels, self._whole_budget.max_pixels)
            )

    def ran_out_of_memory(self, size: Size) -> None:
        """No batch of so many pixels any more: half of them at most, until many have gone well."""
        self._ran_well = 0
        pixels = min(size.pixels * size.images // 2, self._budget.max_pixels)
        self._budget = replace(self._budget, max_pixels=max(pixels, 1))

    def best_images(self, canvas: Hashable, pixels: int) -> int:
        """The batch size that gives this canvas its best rate, if any number waited. 1: batching does not pay."""
        most = self._budget.images(pixels)
        return most if self.fills_batches else self._cost.good_images(Size(canvas, pixels, most))

    def _lines_in_turn(self, queue: Queue[Item]) -> list[Line[Item]]:
        """High priority goes first, but every so often those who wait behind it get their turn."""
        highs, normals = queue.lines(high=True), queue.lines(high=False)
        if highs and (not normals or self._highs_in_a_row < HIGH_IN_A_ROW):
            self._highs_in_a_row += bool(normals)
            return highs
        self._highs_in_a_row = 0
        return normals

    def _plan(self, line: Line[Item], queue: Queue[Item], now: float) -> _Plan[Item]:
        most = self._most(line.waiting)
        if queue.is_owed(line.waiting[0]):
            most = self._hardly_slower(line, queue, most)
        images = self._in_time(line, self._images(line, most), now)
        cost_s = self._cost.predict_s(line.size_of(images))
        deadlines = [waiting.deadline for waiting in line.waiting[:images]]
        earliest = min((deadline for deadline in deadlines if deadline >= now + cost_s), default=min(deadlines))
        return _Plan(line, images, self._fullness(line, images), earliest - cost_s)

    def _in_time(self, line: Line[Item], best: int, now: float) -> int:
        """
        best, or the smaller batch that answers more callers a second by their deadlines.

        A smaller one would often save the first of them, and cost the engine's pace, and so all those behind.
        """

        def pace_per_s(images: int) -> float:
            done = now + (cost_s := self._cost.predict_s(line.size_of(images)))
            return sum(waiting.deadline >= done for waiting in line.waiting[:images]) / cost_s if cost_s else 1.0

        if now + self._cost.predict_s(line.size_of(best)) <= min(w.deadline for w in line.waiting[:best]):
            return best
        return max(range(best, 0, -1), key=pace_per_s)

    def _order(self, plan: _Plan[Item], queue: Queue[Item], now: float) -> tuple[int, float, float]:
        """
        Smallest first: who is out of patience, who is owed it, whose deadline presses, then the fullest, then the
        oldest.
        """
        first = plan.line.waiting[0]
        if plan.line.passed_over >= PATIENCE_BATCHES:
            return 0, -plan.line.passed_over, 0.0
        if queue.is_owed(first):
            return 1, first.turn, first.arrived
        if plan.start_by < now + self._cost.batch_s:
            return 2, plan.start_by, 0.0
        return 3, -round(plan.fullness, 1), first.arrived

    def _hardly_slower(self, line: Line[Item], queue: Queue[Item], most: int) -> int:
        """How many of the first `most` may run with those among them who are owed it, without slowing them much."""
        own = sum(queue.is_owed(waiting) for waiting in line.waiting[:most])
        limit_s = _OWED_SLOWED * self._cost.predict_s(line.size_of(own))
        while most > own and self._cost.predict_s(line.size_of(most)) > limit_s:
            most -= 1
        return most

    def _images(self, line: Line[Item], most: int) -> int:
        """How many of the first `most` of line give the best rate."""
        if most == 1 or self.fills_batches or not self._cost.known:
            return most
        return self._cost.good_images(line.size_of(most))

    def _to_run(self, plan: _Plan[Item], now: float) -> int:
        """plan's images; now and then half or twice as many, so that the cost model knows what those would take."""
        self._ran[plan.line.canvas] += 1
        rounds, rest = divmod(self._ran[plan.line.canvas], _EXPLORE_EVERY)
        if self.fills_batches or (rest and (rounds or rest % _EXPLORE_AT_FIRST)):
            return plan.images
        turn = rounds + rest // _EXPLORE_AT_FIRST
        twice = min(2 * plan.images, self._most(plan.line.waiting))
        is_up = turn % 2 == 0 or plan.images == 1
        return twice if is_up and plan.start_by >= now + self._cost.batch_s else max(1, plan.images // 2)

    def _fullness(self, line: Line[Item], images: int) -> float:
        canvas, pixels = line.canvas, line.waiting[0].pixels
        best = self.best_images(canvas, pixels)
        share_s = self._cost.predict_s(Size(canvas, pixels, images)) / images
        return min(1.0, self._cost.predict_s(Size(canvas, pixels, best)) / best / share_s) if share_s else 1.0

    def _room_beside(self, batch: list[Waiting[Item]], company: Line[Item]) -> int:
        """How many of company may ride along with a high-priority batch without slowing it much."""
        limit_s = _HIGH_SLOWED * self._cost.predict_s(size_of(batch))
        more = self._most(batch + company.waiting) - len(batch)
        while more > 0 and self._cost.predict_s(size_of(batch + company.waiting[:more])) > limit_s:
            more -= 1
        return max(more, 0)

    def _most(self, waiting: list[Waiting[Item]]) -> int:
        """How many of the first in waiting the budget holds."""
        images, pixels = 0, 0
        for one in waiting[: self._budget.max_items]:
            pixels += one.pixels
            if images and pixels > self._budget.max_pixels:
                break
            images += 1
        return images
