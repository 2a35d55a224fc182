"""Durations, sizes, percentages, cores and words, as people write them."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from opsbook.book.quantities import (
    CountOrShare,
    count_or_share,
    cpu,
    duration,
    percentage,
    size,
    spelled_duration,
    spelled_size,
)  # fmt: skip
from opsbook.book.scalars import Guess, is_plain_text, plain, quoted
from opsbook.book.templates import fill, placeholders


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("30s", 30), ("5m", 300), ("1h30m", 5400), ("500ms", 0.5), ("1.5s", 1.5), ("2w", 1209600), ("1d", 86400),
     ("0s", 0), ("1m500ms", 60.5)],
)  # fmt: skip
def test_durations(text: str, seconds: float) -> None:
    """Units from weeks to milliseconds, added up."""
    assert seconds == duration(text)


@pytest.mark.parametrize(
    "text", ["", "5", "s", "5 s", "30m1h", "1h1h", "-5s", "5S", "5min", "1e3s", "٣s", "5s\n"]
)
def test_no_durations(text: str) -> None:
    """A duration without a unit, in disorder or with a sign is none."""
    with pytest.raises(ValueError, match="a duration such as"):
        duration(text)


@pytest.mark.parametrize(
    ("text", "count"),
    [("256Mi", 2**28), ("1GiB", 2**30), ("500M", 5 * 10**8), ("500MB", 5 * 10**8), ("1.5Gi", 3 * 2**29), ("10B", 10),
     ("64 Ki", 2**16), ("2k", 2000), ("2K", 2000), ("1Ti", 2**40)],
)  # fmt: skip
def test_sizes(text: str, count: int) -> None:
    """Powers of 1024 with an i, of 1000 without."""
    assert count == size(text)


@pytest.mark.parametrize("text", ["", "256", "Mi", "256mi", "256mb", "-1Mi", "1Pi", "256 Mi ", "1Mi\n"])
def test_no_sizes(text: str) -> None:
    """A size without a known unit is none."""
    with pytest.raises(ValueError, match="a size such as"):
        size(text)


@pytest.mark.parametrize(("text", "ratio"), [("0%", 0), ("10%", 0.1), ("0.5%", 0.005), ("100%", 1)])
def test_percentages(text: str, ratio: float) -> None:
    """Percentages are ratios."""
    assert ratio == percentage(text)


@pytest.mark.parametrize("text", ["", "10", "101%", "-1%", "10 %", "%"])
def test_no_percentages(text: str) -> None:
    """Only with the sign, and not beyond the whole."""
    with pytest.raises(ValueError, match="a percentage"):
        percentage(text)


def test_cores() -> None:
    """Thousandths with an m, else whole cores and parts of them; none is not a number of cores."""
    assert [cpu("500m"), cpu("2"), cpu("1.5")] == [0.5, 2, 1.5]
    for text in ("", "m", "0", "0m", "-1", "2 cores"):
        with pytest.raises(ValueError, match="cores"):
            cpu(text)


def test_counts_and_shares() -> None:
    """A share of the instances is rounded as it is asked to be."""
    assert CountOrShare(count=2) == count_or_share(2) == count_or_share("2")
    assert (
        count_or_share("25%").of(6, round_up=False),
        count_or_share("25%").of(6, round_up=True),
        count_or_share(2).of(1, round_up=True),
        count_or_share("0%").of(9, round_up=True),
    ) == (1, 2, 2, 0)
    assert [str(count_or_share(2)), str(count_or_share("25%"))] == ["2", "25%"]
    for value in ("many", -1, 1001, "101%", ""):
        with pytest.raises(ValueError, match=r"a count such as|a percentage"):
            count_or_share(value)


@settings(deadline=None)
@given(percent=st.integers(0, 100), total=st.integers(0, 1000))
def test_shares_are_exact(percent: int, total: int) -> None:
    """No binary fraction ever adds an instance: 7 % of 100 is 7."""
    share = count_or_share(f"{percent}%")

    assert percent * total // 100 == share.of(total, round_up=False)
    assert -(-percent * total // 100) == share.of(total, round_up=True)


@settings(deadline=None)
@given(milliseconds=st.integers(0, 10**10))
def test_durations_are_read_back(milliseconds: int) -> None:
    """What is spelled is what is read."""
    assert math.isclose(milliseconds / 1000, duration(spelled_duration(milliseconds / 1000)), abs_tol=1e-6)


@settings(deadline=None)
@given(count=st.integers(0, 10**12))
def test_sizes_are_read_back(count: int) -> None:
    """What is spelled is what is read, to the byte."""
    assert count == size(spelled_size(count))


@settings(deadline=None)
@given(st.text())
def test_parsers_refuse_in_one_way(text: str) -> None:
    """Any text is read as a finite number that is not negative, or refused with ValueError."""
    for parse in (duration, size, percentage, cpu):
        try:
            value = parse(text)
        except ValueError:
            continue
        assert 0 <= value < math.inf


@settings(deadline=None)
@given(st.text())
def test_unquoted_words(text: str) -> None:
    """Any word is text, a finite number, true, false or nothing; or a guess that is refused with a way out."""
    try:
        value = plain(text)
    except Guess:
        return
    assert value is None or isinstance(value, str | bool | int) or math.isfinite(value)
    assert not isinstance(value, str) or value == text


@pytest.mark.parametrize(
    ("text", "value"),
    [("1", 1), ("-7", -7), ("+3", 3), ("0", 0), ("0o17", 15), ("0xff", 255), ("1.5", 1.5), (".5", 0.5), ("1e3", 1000.0),
     ("true", True), ("FALSE", False), ("~", None), ("null", None), ("", None), ("Truee", "Truee"),
     ("8080:80", "8080:80"), ("1.2.3", "1.2.3"), ("y", "y"), ("-", "-"), ("10m", "10m"),
     ("127.0.0.1", "127.0.0.1"), ("nowhere", "nowhere")],
)  # fmt: skip
def test_yaml_1_2(text: str, value: object) -> None:
    """YAML 1.2's core rules, and nothing else."""
    assert (type(value), value) == (type(plain(text)), plain(text))


@pytest.mark.parametrize(
    "text",
    ["yes", "No", "ON", "off", "10:30", "1:30:00", "0755", "00", "2026-11-01", "2026-11-01T10:00:00Z", "1_000", "0b11",
     ".inf", "-.INF", ".nan", "<<", "=", "1" * 30, "1e999"],
)  # fmt: skip
def test_guesses(text: str) -> None:
    """What other readers of YAML read as something else is refused."""
    with pytest.raises(Guess):
        plain(text)
    assert not is_plain_text(text)


@settings(deadline=None)
@given(st.text())
def test_braces_and_placeholders(text: str) -> None:
    """Doubled braces are always text; what is filled in is never read as a placeholder again."""
    doubled = text.replace("{", "{{").replace("}", "}}")

    assert list(placeholders(doubled)) == []
    assert text == fill(doubled, lambda _: "never")
    assert fill("{secret:a}{{{{", lambda _: "{port}") == "{port}{{"


@settings(deadline=None)
@given(st.text())
def test_quoted_text_is_read_back(text: str) -> None:
    """What is quoted is one line, and read as it was."""
    import yaml

    if text.isprintable() or all(ord(c) < 0xD800 for c in text):
        assert text == yaml.safe_load(quoted(text))
    assert "\n" not in quoted(text)
