"""Three kinds of NaN, told apart by their bits, because NaN never equals anything.

`STALE` is Prometheus' own marker (``0x7ff0000000000002``): the series ended here. `ABSENT` is ours: the target
was scraped at that time and the series did not exist; it fills the cells of a block that no sample was written to.
Any other NaN is a value that a target sent. Both markers are *signalling* NaNs: arithmetic would turn them into
ordinary ones, while copies, slices and `take` of numpy move the bits unchanged. So write them through the int64
view only, and test before calculating.
"""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
import numpy.typing as npt

Floats: TypeAlias = npt.NDArray[np.float64]
Integers: TypeAlias = npt.NDArray[np.int64]
Flags: TypeAlias = npt.NDArray[np.bool_]

STALE = np.int64(0x7FF0000000000002)
ABSENT = np.int64(0x7FF0000000000003)


def is_stale(values: Floats) -> Flags:
    """Where the end of a series is marked."""
    stale: Flags = values.view(np.int64) == STALE
    return stale


def is_sample(values: Floats) -> Flags:
    """Where there is a value, NaN sent by a target included."""
    bits = values.view(np.int64)
    present: Flags = (bits != STALE) & (bits != ABSENT)
    return present
