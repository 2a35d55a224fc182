"""Packed samples: the same bits come out, whatever went in."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from opsbook.promql.series import ABSENT, STALE, Floats, Integers
from opsbook.world.telemetry.chunk import Chunk

MARKERS = np.array([STALE, ABSENT]).view(np.float64)
AWKWARD = [0.0, -0.0, 1.0, 127.0, 128.0, -32768.0, 2.0**31, 2.0**53, 2.0**53 + 2, 1e300, -1e300, 0.001, 0.1, 1 / 3,
           math.inf, -math.inf, math.nan, 5e-324]  # fmt: skip

VALUES = st.sampled_from(AWKWARD) | st.floats()


def unpacked(chunk: Chunk, slots: Integers, low: int, high: int) -> Floats:
    out = np.empty((slots.size, high - low))
    chunk.fill(out, slots, low, high)
    return out


def packed(rows: list[Floats]) -> Chunk:
    columns = np.array(rows).T.copy()
    return Chunk(np.arange(len(columns), dtype=np.int64), np.ones(len(columns), np.bool_), columns)


@settings(max_examples=200)
@given(
    arrays(np.float64, st.tuples(st.integers(1, 8), st.integers(1, 12)), elements=VALUES),
    st.integers(0, 2**32),
)
def test_the_same_bits_come_out(rows: Floats, seed: int) -> None:
    """Whole, part, in any order; markers of staleness and absence among them."""
    random = np.random.default_rng(seed)
    bits = rows.view(np.int64)
    bits[random.random(rows.shape) < 0.1] = STALE
    bits[random.random(rows.shape) < 0.1] = ABSENT
    chunk = packed(list(rows))
    slots = random.permutation(rows.shape[0])[: max(1, rows.shape[0] // 2)]
    low, high = sorted(random.integers(0, rows.shape[1] + 1, 2).tolist())
    if low < high:
        expected = bits[slots, low:high]
        assert expected.tolist() == unpacked(chunk, slots, low, high).view(np.int64).tolist()
    assert (bits != ABSENT).any(axis=1).tolist() == chunk.present.tolist()


@pytest.mark.parametrize(
    ("row", "most"),
    [
        (np.full(120, 0.1), 40),
        (np.cumsum(np.arange(120) % 100.0), 160),
        (np.cumsum(np.arange(120) * 100.0), 280),
        (np.arange(120) ** 4.0, 520),
        (np.round(np.sin(np.arange(120)), 3), 280),
        (np.sin(np.arange(120)), 990),
    ],
    ids=["standing", "bytes", "words", "long words", "decimals", "anything"],
)
def test_what_usually_is_measured_becomes_small(row: Floats, most: int) -> None:
    """Bytes for each series of 120 samples, which were 960; beside what is once for all of them."""
    once = packed([row])
    many = packed([row] * 101)
    assert (many.nbytes - once.nbytes) / 100 <= most


def test_rows_that_came_later_are_absent() -> None:
    """A slot that the chunk does not know gives absence, its neighbours their values."""
    chunk = packed([np.array([1.0, 2.0])])
    found = unpacked(chunk, np.array([5, 0, 1]), 0, 2)
    assert [1.0, 2.0] == found[1].tolist()
    assert {int(ABSENT)} == set(found[[0, 2]].view(np.int64).ravel().tolist())


def test_more_rows_than_are_packed_at_a_time() -> None:
    """Rows of all kinds, over the borders of batches."""
    random = np.random.default_rng(7)
    rows = [
        (np.full(5, n), np.arange(5.0) * n, random.random(5), np.arange(5) / 1000)[n % 4] for n in range(9000)
    ]
    chunk = packed([np.asarray(row, float) for row in rows])
    for slot in (0, 1, 2, 3, 4095, 4096, 4097, 8998, 8999):
        assert np.asarray(rows[slot], float).tolist() == unpacked(chunk, np.array([slot]), 0, 5)[0].tolist()
