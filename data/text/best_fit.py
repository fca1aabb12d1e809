"""Best-fit-decreasing bin packing by counting: whole groups of equal items are placed at once.

Items go from the largest to the smallest into the fullest bin that has room, else into a new one. The
result needs at most 11/9 of the fewest bins possible, plus one (Johnson 1973). Used for packing
documents without truncation by Ding et al. 2024, "Fewer Truncations Improve Language Modeling".
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Int64 = NDArray[np.int64]

# Bins first, ..., last - 1 (by number) that have the same room left.
_Bins = tuple[int, int]


def best_fit_decreasing(sizes: Int64, capacity: int) -> Int64:
    """The bin 0, 1, ... of each item [N], given sizes in 1, ..., capacity.

    Every bin of room r that takes items of size s takes r // s of them before any other bin is
    looked at, and is then too full for another. So bins are kept in groups by their room, and one
    step fills a group: there are O(capacity log capacity) steps, whatever the number of items.
    """
    order = np.argsort(-sizes, kind="stable")
    bins = np.empty(len(sizes), dtype=np.int64)
    groups: dict[int, list[_Bins]] = {}
    rooms = np.zeros(capacity + 1, dtype=bool)
    num_bins = placed = 0
    counts = np.bincount(sizes, minlength=capacity + 1)
    for size in np.flatnonzero(counts)[::-1].tolist():
        stop = placed + int(counts[size])
        while placed < stop:
            room = size + int(np.argmax(rooms[size:]))
            if rooms[room]:
                first, last = groups[room].pop()
                if not groups[room]:
                    rooms[room] = False
            else:  # no bin has room: as many new ones as these items fill
                room, each = capacity, capacity // size
                first, last = num_bins, num_bins + -(-(stop - placed) // each)
                num_bins = last
            taken = _fill(groups, rooms, (first, last), room, size, stop - placed)
            bins[order[placed : placed + len(taken)]] = taken
            placed += len(taken)
    return bins


def _fill(
    groups: dict[int, list[_Bins]], rooms: NDArray[np.bool_], bins: _Bins, room: int, size: int, items: int
) -> Int64:
    """Put up to `items` items into `bins`, and these into the groups of the room they have left; the bin of each."""
    first, last = bins
    each = room // size
    full = min(items // each, last - first)
    rest = min(items - full * each, each) if first + full < last else 0
    partly = first + full + (rest > 0)
    for group, left in (
        ((first, first + full), room - each * size),
        ((first + full, partly), room - rest * size),
        ((partly, last), room),
    ):
        if group[0] < group[1] and left:
            groups.setdefault(left, []).append(group)
            rooms[left] = True
    return np.repeat(np.arange(first, partly), np.append(np.full(full, each), np.full(int(rest > 0), rest)))
