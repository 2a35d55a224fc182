"""Sums and means that stay right when large numbers cancel, as Prometheus computes them (Kahan, Neumaier)."""

from __future__ import annotations

import numpy as np

from opsbook.promql.series import Flags, Floats

_CANCELLED = 1e-5  # of a sum against its largest summand: then half of the digits may be wrong


def suspicious(total: Floats, largest: Floats | float) -> Flags:
    """Where a plain sum must be done again with care: it overflowed, or its summands nearly cancel."""
    doubtful: Flags = ~(np.abs(total) >= _CANCELLED * largest)
    return doubtful | np.isinf(total)


def _add(term: Floats, total: Floats, lost: Floats) -> tuple[Floats, Floats]:
    summed = total + term
    bigger = np.abs(total) >= np.abs(term)
    correction = np.where(bigger, (total - summed) + term, (term - summed) + total)
    return summed, np.where(np.isinf(summed), 0.0, lost + correction)


def sums(terms: Floats, counted: Flags) -> Floats:
    """The sums of the last axis over the cells that count, with compensation."""
    total = np.zeros(terms.shape[:-1])
    lost = np.zeros(terms.shape[:-1])
    for column in range(terms.shape[-1]):
        here = counted[..., column]
        new_total, new_lost = _add(terms[..., column], total, lost)
        total, lost = np.where(here, new_total, total), np.where(here, new_lost, lost)
    result: Floats = total + np.where(np.isinf(total), 0.0, lost)
    return result


def means(terms: Floats, counted: Flags) -> Floats:
    """The means of the last axis; from where a sum overflows on, by moving the mean."""
    shape = terms.shape[:-1]
    total, lost, mean, count = np.zeros(shape), np.zeros(shape), np.zeros(shape), np.zeros(shape)
    moving = np.zeros(shape, np.bool_)
    for column in range(terms.shape[-1]):
        here, term = counted[..., column], terms[..., column]
        count = np.where(here, count + 1, count)
        summed, new_lost = _add(term, total, lost)
        plain = here & ~moving & ((count == 1) | ~np.isinf(summed))
        begins = here & ~moving & ~plain
        mean = np.where(begins, total / (count - 1), mean)
        lost = np.where(begins, lost / (count - 1), lost)
        moving |= begins
        share = (count - 1) / count
        moved, moved_lost = _add(term / count, share * mean, share * lost)
        onward = here & moving
        mean, lost = np.where(onward, moved, mean), np.where(onward, moved_lost, lost)
        total, lost = np.where(plain, summed, total), np.where(plain, new_lost, lost)
    result: Floats = np.where(moving, mean + lost, total / count + lost / count)
    return result
