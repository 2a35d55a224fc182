"""Figures as a diagnosis says them. Pure."""

from __future__ import annotations


def percent(ratio: float) -> str:
    """``0.042`` as ``4.2 %``."""
    share = ratio * 100
    return (
        f"{share:.0f} %"
        if share >= 10 or share == 0
        else f"{share:.1f} %"
        if share >= 0.1
        else f"{share:.2g} %"
    )


def milliseconds(seconds: float) -> str:
    """``0.412`` as ``412 ms``, ``3.2`` as ``3.2 s``."""
    return f"{seconds:.1f} s" if seconds >= 1 else f"{seconds * 1000:.0f} ms"


def rate(value: float) -> str:
    """Requests a second."""
    return f"{value:.0f}/s" if value >= 10 else f"{value:.2g}/s"


def counted(number: int, noun: str) -> str:
    """``1 instance``, ``3 instances``."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
