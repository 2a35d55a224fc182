"""Go's templates with Prometheus' functions: what each gives, and what is refused."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from opsbook.monitoring.templating import Context, Sample, TemplateError, parse_template

UP = [Sample({"instance": "b", "__value__": "7"}, 5.0), Sample({"instance": "a"}, 2.0)]
CONTEXT = Context(
    labels={"instance": "web-1.example.com:80", "evil": "{{ .Value }} $1 <b>"},
    value=0.123456,
    query=lambda expression: UP if expression == "up" else [],
    now=1700000000.5,
    external_labels={"region": "eu"},
    external_url="https://ops.example.com/x",
)


def expand(template: str) -> str:
    return parse_template(template).expand(CONTEXT)


@pytest.mark.parametrize(
    ("template", "expected"),
    [
        ("plain", "plain"),
        ("{{ $labels.instance }} {{ .Labels.instance }}", "web-1.example.com:80 web-1.example.com:80"),
        ("{{ $labels.missing }}|", "|"),
        ("{{ $value }} {{ .Value | humanizePercentage }}", "0.123456 12.35%"),
        ("{{ $externalLabels.region }} {{ externalURL }} {{ pathPrefix }}", "eu https://ops.example.com/x /x"),
        ("a {{- 1 -}} b {{/* nothing */}}c", "a1b c"),
        ("{{ if gt $value 0.1 }}high{{ else }}low{{ end }}", "high"),
        ("{{ if lt $value 0.1 }}a{{ else if eq 1 1 }}b{{ else }}c{{ end }}", "b"),
        ("{{ range query \"up\" }}{{ .Labels.instance }}={{ .Value }};{{ end }}", "b=5;a=2;"),
        ("{{ range query \"down\" }}x{{ else }}none{{ end }}", "none"),
        ("{{ range $i, $e := query \"up\" | sortByLabel \"instance\" }}{{ $i }}{{ $e.Value }}{{ end }}", "0215"),
        ("{{ with query \"up\" }}{{ . | first | value | printf \"%.2f\" }}{{ end }}", "5.00"),
        ("{{ query \"up\" | first | label \"instance\" }}{{ query \"up\" | first | strvalue }}", "b7"),
        ("{{ (query \"up\" | first).Labels.instance }}", "b"),
        ('{{ reReplaceAll "(.*):([0-9]+)" "$2 ${1}" .Labels.instance }}', "80 web-1.example.com"),
        ('{{ match "web-.*" .Labels.instance }}', "true"),
        ('{{ title "hello big world" }} {{ "x" | toUpper }} {{ toLower "Y" }}', "Hello Big World X y"),
        ("{{ stripPort .Labels.instance }} {{ stripDomain .Labels.instance }}", "web-1.example.com web-1:80"),
        ('{{ stripDomain "10.0.0.1:9" }} {{ stripPort "[::1]:80" }}', "10.0.0.1:9 ::1"),
        ('{{ graphLink "up == 0" }}', "/graph?g0.expr=up+%3D%3D+0&g0.tab=0"),
        ('{{ parseDuration "1h30m" }} {{ 5400 | humanizeDuration }}', "5400 1h 30m 0s"),
        ("{{ humanizeTimestamp 1700000000 }}", "2023-11-14 22:13:20 +0000 UTC"),
        ("{{ now | toTime }} {{ toDuration 65 }}", "2023-11-14 22:13:20.5 +0000 UTC 1m5s"),
        ('{{ define "x" }}<{{ .arg0 }},{{ .arg1 }}>{{ end }}{{ template "x" (args 1 "b") }}', "<1,b>"),
        ("{{ $x := 1 }}{{ if true }}{{ $x = 2 }}{{ end }}{{ $x }}", "2"),
        ("{{ range 5 }}{{ if eq . 1 }}{{ continue }}{{ end }}{{ if gt . 2 }}{{ break }}{{ end }}{{ . }}{{ end }}",
         "02"),
        ("{{ and 1 0 }}{{ or 0 \"x\" }}{{ not 1 }}{{ len \"abc\" }}", "0xfalse3"),
        ("{{ or $labels.missing $labels.instance }}", "web-1.example.com:80"),
        ('{{ printf "%d %5.1f|%-4s|%q %v %x %t %%" 3 2.55 "a" "b" 1e21 255 true }}',
         '3   2.5|a   |"b" 1e+21 ff true %'),
        ('{{ printf "%d" 1.5 }} {{ printf "%s" }} {{ printf "x" 1 }}',
         "%!d(float64=1.5) %!s(MISSING) x%!(EXTRA int=1)"),
        ('{{ index $labels "instance" }} {{ print 1 2 "a" 3 }}', "web-1.example.com:80 1 2a3"),
        ("{{ safeHtml \"<b>\" }}{{ html \"<b>\" }}{{ urlquery \"a b\" }}", "<b>&lt;b&gt;a+b"),
    ],
)  # fmt: skip
def test_what_templates_give(template: str, expected: str) -> None:
    """As Prometheus expands them."""
    assert expected == expand(template)


@pytest.mark.parametrize(
    ("function", "value", "expected"),
    [
        ("humanize", "1234567", "1.235M"), ("humanize", "0.00012", "120u"), ("humanize", "0", "0"),
        ("humanize", "-1500", "-1.5k"), ("humanize1024", "1048576", "1Mi"), ("humanize1024", "0.5", "0.5"),
        ("humanizeDuration", "0", "0s"), ("humanizeDuration", "0.0012", "1.2ms"),
        ("humanizeDuration", "899.5", "14m 59s"), ("humanizeDuration", "90061", "1d 1h 1m 1s"),
        ("humanizeDuration", "-12.3456", "-12.35s"), ("humanizePercentage", "0.5", "50%"),
    ],
)  # fmt: skip
def test_numbers_for_people(function: str, value: str, expected: str) -> None:
    """Four significant digits and a prefix."""
    assert expected == expand(f'{{{{ "{value}" | {function} }}}}')


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_what_is_no_number_is_said_so(value: float) -> None:
    """Every function for people takes what is not finite."""
    names = ("humanize", "humanize1024", "humanizeDuration", "humanizePercentage", "humanizeTimestamp")
    said = {"nan": "NaN", "inf": "+Inf", "-inf": "-Inf"}[str(value)]
    for name in names:
        text = parse_template(f"{{{{ $value | {name} }}}}").expand(Context(value=value))
        assert said == text.removesuffix("%")


@pytest.mark.parametrize(
    "template",
    ["{{ foo }}", "{{ if }}x{{ end }}", "{{ end }}", "{{ $x }}", "{{ .a", "{{ range . }}", "{{ if 1 }}{{ else }}",
     "{{ 'ab' }}", '{{ "\\q" }}', "{{ 1 | 2 }}", "{{ ( 1 }}", "{{ break }}", "{{/* x }}", "{{ template x }}", "{{}}",
     "{{ if 1 }}" * 60],
)  # fmt: skip
def test_what_does_not_parse(template: str) -> None:
    """Refused with a reason, before any alert fires."""
    with pytest.raises(TemplateError):
        parse_template(template)


@pytest.mark.parametrize(
    "template",
    ["{{ if gt $value 5 }}x{{ end }}", '{{ query "down" | first }}', "{{ toUpper 5 }}", '{{ humanize "x" }}',
     '{{ reReplaceAll "(" "" "x" }}', "{{ $value.Foo }}", '{{ template "no" }}', '{{ parseDuration "x" }}',
     '{{ define "a" }}{{ template "a" }}{{ end }}{{ template "a" }}',
     "{{ range 9999999 }}{{ range 9999999 }}{{ end }}{{ end }}",
     "{{ lt }}", "{{ index $labels 1 2 }}"],
)  # fmt: skip
def test_what_fails_when_it_is_expanded(template: str) -> None:
    """An error, and never an endless loop."""
    with pytest.raises(TemplateError):
        expand(template)


def test_labels_are_only_data() -> None:
    """A label that holds a template, a reference or markup comes out as it went in."""
    evil = CONTEXT.labels["evil"]
    assert f"{evil} {evil}" == expand("{{ $labels.evil }} {{ reReplaceAll `x` `$labels.evil` $labels.evil }}")


@given(st.text(max_size=40), st.text(max_size=40))
def test_any_label_comes_out_as_it_went_in(before: str, text: str) -> None:
    """Whatever stands in a label, the text around it is not touched."""
    plain = before.replace("{", "(")
    found = parse_template(plain + "{{ $labels.a }}").expand(Context(labels={"a": text}))
    assert plain + text == found


@given(st.text(alphabet="{}|.$()\"`'-:= \nabifendrgwth0129,\\/*", max_size=60))
def test_any_text_is_a_template_or_refused(text: str) -> None:
    """Nothing else can happen."""
    try:
        parse_template("{{" + text).expand(CONTEXT)
    except TemplateError:
        pass
