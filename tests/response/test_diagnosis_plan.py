"""What follows from the looks, and lines of logs that are one pattern."""

from __future__ import annotations

import re

import pytest
from diagnosis_house import FILES
from hypothesis import given
from hypothesis import strategies as st

from opsbook.book import TextFiles, load
from opsbook.monitoring.alerting.model import Alert
from opsbook.response.diagnosis.model import Check, Clue, Diagnosis, Next, Suspect, plain
from opsbook.response.diagnosis.patterns import sorted_into
from opsbook.response.diagnosis.plan import (
    Outcome,
    closeness,
    lacking,
    next_step,
    outcome,
    pages,
    parameters,
    run_command,
    suspects,
)
from opsbook.response.diagnosis.rendering import escaped, markdown, text

NOW = 1_800_000_000.0
BOOK = load(TextFiles.of(FILES))
HOSTILE = (
    "$(reboot)",
    "`id`",
    "-rf /",
    "a\nb",
    "\u202egnp.exe",
    "'; rm -rf /; '",
    "\x1b[2Jcleared",
    "x" * 5000,
)


def clue(key: str, weight: float, ago: float | None = None, **changes: object) -> Clue:
    kind, _, subject = key.partition(":")
    given: dict[str, object] = {
        "key": key, "kind": kind, "subject": subject, "text": key, "why": f"{key} is so", "weight": weight,
        "at": None if ago is None else NOW - ago,
    }  # fmt: skip
    return Clue(**given | changes)


def test_a_release_shortly_before_comes_first() -> None:
    """Before a dependency that three things speak for, and before a disk that is full."""
    found = suspects(
        [
            clue("dependency:redis", 0.85), clue("dependency:redis", 0.5), clue("dependency:redis", 0.55),
            clue("saturation:disk", 0.75), clue("deployment:web", 0.95, 300.0),
        ],
        NOW - 120,
        NOW,
    )  # fmt: skip
    assert ["web", "redis", "disk"] == [one.subject for one in found]
    assert [0.95, 0.92, 0.75] == [one.score for one in found]
    assert "deployment:web is so, 3m before it began" == found[0].why


def test_what_came_too_late_or_long_before_is_less_likely() -> None:
    """A change after the beginning cannot be its cause; one of yesterday hardly is."""
    since = NOW - 600
    assert 1.0 == closeness(since - 30, since, NOW)
    assert 1.0 == closeness(since + 30, since, NOW)  # clocks and scrapes
    assert 0.15 == closeness(since + 300, since, NOW)
    assert closeness(since - 3600, since, NOW) < 0.5
    assert 0.05 == closeness(since - 86_400, since, NOW)
    assert 1.0 == closeness(since - 86_400, since, NOW, lasting=True)
    assert 1.0 == closeness(None, since, NOW)


@given(
    st.lists(
        st.tuples(st.sampled_from("abc"), st.floats(0, 1), st.none() | st.floats(-1e6, 1e6), st.booleans()),
        max_size=12,
    ),
    st.none() | st.floats(NOW - 1e5, NOW),
)
def test_scores_are_shares_in_order(
    given_: list[tuple[str, float, float | None, bool]], since: float | None
) -> None:
    """Whatever the clues: 0..1, descending, one suspect for each key, at most five."""
    found = suspects([clue(key, weight, ago, names=names) for key, weight, ago, names in given_], since, NOW)
    scores = [one.score for one in found]
    assert sorted(scores, reverse=True) == scores
    assert all(0 <= score <= 1 for score in scores)
    assert len({one.kind for one in found}) == len(found) <= 5


def test_a_clue_that_only_adds_names_nobody() -> None:
    """It speaks for what another clue has named, or for nothing."""
    adding = clue("release:r2", 0.6, names=False)
    assert () == suspects([adding], None, NOW)
    (found,) = suspects([adding, clue("release:r2", 0.5, text="2.0 went live")], None, NOW)
    assert ("2.0 went live", 0.8) == (found.text, found.score)


def test_the_outcome_takes_the_worst_sentence() -> None:
    """A failure before a warning, in the order of the looks; nothing told is well, nothing seen is unknown."""
    slow = Check(
        name="traffic", title="t", state="warning", text="slow", symptom="it is slow", since=NOW - 900
    )
    down = Check(name="health", title="h", state="failed", text="down", symptom="it is down", since=NOW - 60)
    found = outcome("production", "web", [slow, down], NOW)
    assert ("failed", "it is down", NOW - 60) == (found.state, found.symptom, found.since)
    well = Check(name="health", title="h", state="ok", text="2 of 2")
    blind = Check(name="health", title="h", state="unknown", text="?")
    assert ["ok", "unknown", "ok"] == [
        outcome("production", "web", checks, NOW).state for checks in ([well], [blind], [well, blind])
    ]


def test_of_several_pages_the_one_that_can_be_run_as_it_is_comes_first() -> None:
    """One that a person would have to tell what the alert does not say comes after it, whatever it is called."""
    said = "---\ntitle: {0}\nalerts: [ProbeDown]\nparams: {1}\n---\n```bash run id=a risk=read\ntrue\n```\n"
    written = {
        "a-name": "{name: {type: string}}",
        "b-region": "{from: {type: string}, service: {type: service}}",
        "c-down": "{service: {type: service}, environment: {type: environment}}",
        "d-down": "{instance: {type: string}}",
    }
    files = {f"runbooks/{name}.md": said.format(name, params) for name, params in written.items()}
    book = load(TextFiles.of({**FILES, **files}))
    there = {"alertname": "ProbeDown", "service": "web", "environment": "production"}
    order = [page.name for page in pages(book, "production", "web", [Alert(there)], (), ())]
    assert ["c-down", "a-name", "b-region", "d-down"] == order[:4]
    elsewhere = Alert({"alertname": "ProbeDown", "instance": "https://pay.example.com"})
    assert "d-down" == pages(book, "", "", [elsewhere], (), ())[0].name


def test_the_page_is_the_one_that_the_alert_names() -> None:
    """By its annotation or by the page's own list; then what suspects are usually about; then troubleshooting/."""
    alert = Alert({"alertname": "HighErrorRate"}, {"runbook": "disk-full"})
    suspect = Suspect(kind="deployment", subject="production/web", text="2.0", score=0.9, why="")
    named = clue("deployment:production/web", 0.9, runbooks=("failed-deployment", "none-such"))
    found = pages(
        BOOK,
        "production",
        "web",
        [alert],
        [suspect],
        [Check(name="c", title="c", state="ok", text="", clues=(named,))],
    )
    assert ["disk-full", "high-error-rate", "failed-deployment", "checkout"] == [page.name for page in found]
    redis = pages(BOOK, "production", "redis", [], [], [])
    assert ["What redis does at night"] == [page.title for page in redis]


def test_parameters_come_from_the_service_and_the_labels() -> None:
    """Labels fill parameters of their names only; what is missing is left to a person."""
    page = BOOK.runbooks["high-error-rate"]
    told = parameters(page, "production", "web", {"route": "/basket", "service": "api", "other": "x"})
    assert {"service": "web", "environment": "production", "route": "/basket"} == told
    assert ["service", "environment"] == lacking(page, {"route": "/"})


@pytest.mark.parametrize("value", HOSTILE)
def test_labels_never_become_words_of_a_command(value: str) -> None:
    """The command that is shown can be pasted: a hostile label is one quoted word, or not there."""
    import shlex

    command = run_command(BOOK.runbooks["high-error-rate"], "production", "web", {"route": value})
    words = shlex.split(command)
    assert ["opsbook", "run", "high-error-rate"] == words[:3]
    assert words[3::2] == ["--param"] * len(words[3::2])
    assert words[4::2][:2] == ["service=web", "environment=production"]
    assert set(words[4::2][2:]) <= {f"route={value}"}
    assert command.isprintable()


def test_the_next_command() -> None:
    """The way back of a likely suspect, else the page, else the logs."""
    page = BOOK.runbooks["high-error-rate"]
    likely = Suspect(
        kind="deployment",
        subject="s",
        text="2.0 went live",
        score=0.9,
        why="",
        command="opsbook rollback web",
    )
    unlikely = likely.model_copy(update={"score": 0.2})

    def command(*found: Suspect, page_: object = page, run: str = "") -> str:
        result = Outcome("failed", "it fails", NOW, found)
        step: Next = next_step(result, "production", "web", page=page_, labels={}, run=run)  # type: ignore[arg-type]
        return step.command

    assert "opsbook rollback web" == command(likely)
    assert "opsbook run high-error-rate --param service=web --param environment=production" == command(
        unlikely
    )
    assert "opsbook runs show run-3 --follow" == command(unlikely, run="run-3")
    assert "opsbook runbooks show disk-full" == command(page_=BOOK.runbooks["disk-full"])
    assert "opsbook rollback web" == command(unlikely, page_=None)
    assert "opsbook logs web --env production --level warning --since 15m" == command(page_=None)


def test_lines_that_differ_in_numbers_are_one_pattern() -> None:
    """Ids, addresses, times and words in the same place; other sentences are others."""
    lines = [
        "2026-11-21T10:00:00Z timeout after 30 ms asking 10.0.0.7:6379",
        "2026-11-21T10:00:09Z timeout after 1200 ms asking 10.0.0.9:6379",
        "cannot charge order 7f3a9c21de for ana: card declined",
        "cannot charge order 00aa9c21d9 for ben: card declined",
        "",
    ]
    found = sorted_into((line, float(at)) for at, line in enumerate(lines))
    assert [
        ("<time> timeout after <number> ms asking <ip>", 2), ("cannot charge order <hex> for <*> card declined", 2),
    ] == [(one.text, one.count) for one in found.found]  # fmt: skip
    assert lines[1] == found.found[0].sample
    again = sorted_into([("cannot charge order 11119c21d9 for eva: card declined", 9.0), ("disk full", 9.0)])
    assert [True, False] == [found.like(one) is not None for one in again.found]


@given(st.lists(st.text(max_size=60), max_size=40))
def test_any_lines_are_sorted(lines: list[str]) -> None:
    """Each line that is not empty is counted once, and found again."""
    found = sorted_into((line, float(at)) for at, line in enumerate(lines))
    assert sum(one.count for one in found.found) == sum(1 for line in lines if line.split())


def test_patterns_are_bounded() -> None:
    """A program that never says the same twice costs no memory."""
    alphabet = "abcdefghijklmnopqrstuvwxyz"
    words = [f"{a}{b}{c}" for a in alphabet for b in alphabet[:8] for c in alphabet[:8]]
    found = sorted_into((f"{word}x {word}y {word}", 0.0) for word in words)
    assert 500 == len(found.found)
    assert len(words) - 500 == found.others


@pytest.mark.parametrize("words", HOSTILE)
def test_one_printable_line(words: str) -> None:
    """Whatever a program wrote moves no cursor and hides nothing."""
    shown = plain(words)
    assert shown.isprintable()
    assert len(shown) <= 400


def diagnosis(words: str) -> Diagnosis:
    """One that is made of somebody else's words."""
    check = Check(
        name="logs",
        title="new errors in the logs",
        state="failed",
        text=words,
        lines=(words, "```", f"````{words}"),
    )
    return Diagnosis(
        id="diag-1", environment="production", service="web", at=NOW, state="failed", symptom=plain(words),
        since=NOW - 60, checks=(check,), next=Next(command="opsbook status", why=plain(words)),
        suspects=(Suspect(kind="log", subject="x", text=plain(words), score=0.5, why=plain(words)),),
    )  # fmt: skip


@pytest.mark.parametrize(
    "words", [*HOSTILE, "<script>alert(1)</script>", "[x](javascript:1)", "| a | b", "# H", "```"]
)
def test_markdown_holds_hostile_words(words: str) -> None:
    """No heading, link, HTML or table cell comes of them, and no fence ends early."""
    from markdown_it import MarkdownIt

    html = MarkdownIt("commonmark", {"html": True}).enable("table").render(markdown(diagnosis(words)))
    assert re.findall(r"<(?:script|a|img|h1|h2)\b", html) == []
    assert 1 == html.count("<table>")
    assert 4 == html.count("<td>")
    assert 2 == html.count("<pre>")
    said = text(diagnosis(words))
    assert all(line.isprintable() and len(line) <= 170 for line in said.splitlines())


def test_escaping_keeps_what_people_write() -> None:
    """Plain sentences stay as they are, as far as they can."""
    assert "4.2 % of 1,200 requests (12m ago)" == escaped("4.2 % of 1,200 requests (12m ago)")
    assert r"a\_b \<c\> \[d\]" == escaped("a_b <c> [d]")
