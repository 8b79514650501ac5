"""Maintenance that is told again and again with nothing between: a loop that never ends.

A trace may have millions of such records. What the first has done, the second does not do again;
the last one says up to where it was done.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import numpy.typing as npt

from relokit.runtime.record.trace import Records, TraceKind

Numbers = npt.NDArray[np.intp]

_REPEATED = (TraceKind.DC, TraceKind.IC, TraceKind.DSB, TraceKind.DMB)


def without_repetitions(
    records: Records, numbers: Numbers, names: Iterable[str], counted: Iterable[int]
) -> Numbers:
    """Those of ``numbers`` whose record, by the fields ``names``, is not the same as the one before
    and the one behind. Each one counts of the encodings ``counted``.
    """
    kinds = records["kind"][numbers]
    same = np.isin(kinds[1:], _REPEATED)
    same &= ~np.isin(records["encoding"][numbers[1:]], list(counted))
    for name in names:
        [where] = np.nonzero(same)
        if not len(where):
            return numbers
        of = records[name]
        same[where] = of[numbers[where]] == of[numbers[where + 1]]
    inner = np.zeros(len(numbers), np.bool_)
    inner[1:-1] = same[:-1] & same[1:]
    return numbers[~inner]
