"""
Partners one to one at the greatest gain in all: the assignment problem (Kuhn 1955), solved exactly.

By shortest augmenting paths with potentials (Jonker & Volgenant 1987), for each group of rows and columns that gains
connect: boxes overlap few others, so groups are small. scipy has this too; at 113 MB it is the tests' alone.
"""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

Gains = NDArray[np.float64]
Indices = NDArray[np.int64]


def assignment(gains: Gains) -> list[tuple[int, int]]:
    """
    (row, column) of each pair, by row: none twice, of gains (A, B) as much as any such pairs have together.

    gains >= 0, and 0 means never. Ties between whole assignments fall one way or the other, always the same.
    """
    linked = gains > 0
    alone = linked & (linked.sum(0) == 1)[None, :] & (linked.sum(1) == 1)[:, None]
    found = [(int(row), int(column)) for row, column in np.argwhere(alone)]
    for rows, columns in _groups(linked & ~alone):
        group = gains[np.ix_(rows, columns)]
        found += [(int(rows[i]), int(columns[j])) for i, j in _solved(group) if group[i, j] > 0]
    return sorted(found)


def _groups(linked: NDArray[np.bool_]) -> Iterator[tuple[Indices, Indices]]:
    """Rows and columns that hang together, whatever the way from one to the other."""
    left = np.asarray(linked.any(1))
    while left.any():
        rows = np.zeros_like(left)
        rows[left.argmax()] = True
        while True:
            columns = linked[rows].any(0)
            reached = np.asarray(linked[:, columns].any(1))
            if (reached == rows).all():
                break
            rows = reached
        yield np.flatnonzero(rows), np.flatnonzero(columns)
        left &= ~rows


def _solved(gains: Gains) -> list[tuple[int, int]]:
    """Every row of the shorter side gets a partner, be it at no gain."""
    if gains.shape[0] > gains.shape[1]:
        return [(row, column) for column, row in _solved(gains.T)]
    if gains.shape[0] == 1:
        return [(0, int(gains.argmax()))]
    costs = gains.max() - gains
    of_rows, of_columns = np.zeros(costs.shape[0]), np.zeros(costs.shape[1])
    partner = np.full(costs.shape[1], -1)  # of each column
    for row in range(costs.shape[0]):
        _augment(costs, of_rows, of_columns, partner, row)
    return [(int(partner[column]), int(column)) for column in np.flatnonzero(partner >= 0)]


def _augment(costs: Gains, of_rows: Gains, of_columns: Gains, partner: Indices, new: int) -> None:
    """Give row `new` a column along the cheapest path of rows that move on; potentials and partner are changed."""
    nearest, before = np.full(len(partner), np.inf), np.full(len(partner), -1)
    is_done, path, row, column = np.zeros(len(partner), bool), [new], new, -1
    while True:
        reduced = costs[row] - of_rows[row] - of_columns
        better = ~is_done & (reduced < nearest)
        nearest[better], before[better] = reduced[better], column
        column = int(np.where(is_done, np.inf, nearest).argmin())
        step = nearest[column]
        of_rows[path] += step
        of_columns[is_done] -= step
        nearest[~is_done] -= step
        is_done[column] = True
        if partner[column] < 0:
            break
        row = int(partner[column])
        path.append(row)
    while column >= 0:
        left = int(before[column])
        partner[column] = partner[left] if left >= 0 else new
        column = left
