"""The text format: what targets send, whole and broken."""

from __future__ import annotations

import math
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from opsbook.errors import Invalid
from opsbook.world.telemetry.exposition import Metric, parse_line, render, render_series

NAMES = st.from_regex(r"[a-zA-Z_:][a-zA-Z0-9_:]{0,20}", fullmatch=True)
LABEL_NAMES = st.from_regex(r"[a-zA-Z_][a-zA-Z0-9_]{0,20}", fullmatch=True)
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)


@pytest.mark.parametrize(
    ("line", "labels", "value"),
    [
        ("up 1", {"__name__": "up"}, 1.0),
        ('a{b="c"} 2', {"__name__": "a", "b": "c"}, 2.0),
        ('a{b="c",} 2', {"__name__": "a", "b": "c"}, 2.0),
        ("a{} -2.5e3", {"__name__": "a"}, -2500.0),
        ('a{ b = "c" , d="e f" }\t4 1700000000123', {"__name__": "a", "b": "c", "d": "e f"}, 4.0),
        ('a{b="}, x=\\"1\\" \\\\ \\n \\q"} 5', {"__name__": "a", "b": '}, x="1" \\ \n \\q'}, 5.0),
        ('{"a.b", "c.d"="e"} 6', {"__name__": "a.b", "c.d": "e"}, 6.0),
        ('a_bucket{le="+Inf"} 7 # {trace_id="x"} 0.5 1.5', {"__name__": "a_bucket", "le": "+Inf"}, 7.0),
        ("  a   8  \r", {"__name__": "a"}, 8.0),
        ("a +Inf", {"__name__": "a"}, math.inf),
        ("a -Inf", {"__name__": "a"}, -math.inf),
        ('a{b="ü 中"} .5', {"__name__": "a", "b": "ü 中"}, 0.5),
    ],
)
def test_sound_lines(line: str, labels: dict[str, str], value: float) -> None:
    """Every way of writing a sample that Prometheus and OpenMetrics allow is understood."""
    parsed = parse_line(line)
    assert (labels, value) == (parsed.labels, parsed.value)


def test_nan() -> None:
    """NaN is a value."""
    assert math.isnan(parse_line("a NaN").value)


@pytest.mark.parametrize(
    ("line", "where", "expected"),
    [
        ("a", "line 3, column 2", "a value"),
        ("a b", "line 3, column 3", "a value"),
        ("a 1_000", "line 3, column 3", "a value"),
        ("1a 2", "line 3, column 1", "a metric name"),
        ('a{b="c} 2', "line 3, column 5", "text in double quotes"),
        ('a{b="c" d="e"} 2', "line 3, column 9", "',' or '}'"),
        ('a{b"c"} 2', "line 3, column 4", "'='"),
        ('a{="c"} 2', "line 3, column 3", "a label name"),
        ('a{b="1",b="2"} 2', "line 3, column 9", "every label once"),
        ('{b="1"} 2', "line 3, column 8", "a metric name"),
        ("a 1 later", "line 3, column 5", "a timestamp"),
        ("a 1 2 3", "line 3, column 7", "the end of the line"),
        ("<html>", "line 3, column 1", "a metric name"),
    ],
)
def test_broken_lines(line: str, where: str, expected: str) -> None:
    """A line that is none says where and what was expected."""
    with pytest.raises(Invalid) as raised:
        parse_line(line, 3)
    assert where == raised.value.where
    assert f"expected {expected}, found" in raised.value.message


@given(NAMES, st.dictionaries(LABEL_NAMES.filter(lambda name: name != "__name__"), TEXTS), st.floats())
def test_what_we_write_we_read(name: str, labels: dict[str, str], value: float) -> None:
    """Rendering and parsing are inverse, whatever the label values hold."""
    parsed = parse_line(f"{render_series(name, labels)} {value!r}")
    assert {"__name__": name, **labels} == parsed.labels
    assert value == parsed.value or (math.isnan(value) and math.isnan(parsed.value))


@given(st.text(max_size=60))
def test_arbitrary_lines(text: str) -> None:
    """Whatever the line holds, it is a sample or it is Invalid; nothing else comes out."""
    with suppress(Invalid):
        assert parse_line(text).labels["__name__"]


def test_the_reference_parser_agrees() -> None:
    """prometheus_client reads what we render as we meant it."""
    parser = pytest.importorskip("prometheus_client.parser", reason="prometheus-client is not installed")
    labels = {"a": 'quote " backslash \\ newline \n', "b": "{},="}
    text = render([Metric("x_total", "counter", "What\nit is.", ((labels, 3.0), ({}, 4.5)))])
    families = list(parser.text_string_to_metric_families(text))
    assert [("x_total", labels, 3.0), ("x_total", {}, 4.5)] == [
        (sample.name, sample.labels, sample.value) for family in families for sample in family.samples
    ]
