"""What questions mean."""

from __future__ import annotations

import pytest

from opsbook.errors import Invalid
from opsbook.monitoring.plan import matchers_of, seconds_of


@pytest.mark.parametrize(
    ("text", "seconds"), [("10m", 600), ("1h30m", 5400), ("90", 90), ("0.5", 0.5), ("250ms", 0.25), ("0", 0)]
)
def test_spans_of_time(text: str, seconds: float) -> None:
    """Durations as in the handbook, or plain seconds."""
    assert seconds == seconds_of(text, where="since")


@pytest.mark.parametrize("text", ["", "soon", "-5", "nan", "inf", "1e3", "5 m", "m", "1.2.3"])
def test_no_spans_of_time(text: str) -> None:
    """Anything else is Invalid, and says for which parameter and what was expected."""
    with pytest.raises(Invalid) as raised:
        seconds_of(text, where="since")
    assert "since" == raised.value.where
    assert "a duration such as" in raised.value.message


def test_matchers() -> None:
    """What was not asked for is no condition."""
    assert {"service": "web"} == matchers_of(service="web", release=None)
