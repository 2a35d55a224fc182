"""What follows from the looks: since when, which causes in which order, which page, which command. Pure."""

from __future__ import annotations

import math
import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from opsbook.book import Book
from opsbook.book.runbook_parameters import spelled
from opsbook.book.runbooks import Runbook
from opsbook.monitoring.alerting.model import Alert
from opsbook.response.diagnosis.model import WORST, Check, Clue, Next, Page, State, Suspect, plain

MOST_SUSPECTS = 5
MOST_PAGES = 5
LEAST_SCORE = 0.1
SHORTLY = 600.0  # a change so long before the beginning fits as well as one can
HALF_LIFE = 2400.0  # beyond that, one so much older is half as likely
AFTERWARDS = (
    60.0  # clocks and scrapes are no more exact than that: a change so long after the beginning may be it
)
TOO_LATE = 0.15
CORROBORATED = 0.92
"""As much as clues can add up to where no release did it: one that went live shortly before comes first."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What the looks come to."""

    state: State
    symptom: str
    since: float | None
    suspects: tuple[Suspect, ...]


def outcome(environment: str, service: str, checks: Sequence[Check], now: float) -> Outcome:
    """The state of the service in a sentence, and the suspects in order."""
    telling = [check for check in checks if check.symptom and check.state in {"failed", "warning"}]
    telling.sort(key=lambda check: WORST.index(check.state))
    if not telling:
        seen = [check for check in checks if check.state != "skipped"]
        blind = bool(seen) and all(check.state == "unknown" for check in seen)
        state: State = "unknown" if blind or not seen else "ok"
        where = f"{service} in {environment}" if service else "the machines"
        word = "cannot be looked at" if state == "unknown" else "nothing is wrong that can be seen from here"
        return Outcome(state, f"{where}: {word}", None, ())
    worst = telling[0].state
    begun = [check.since for check in telling if check.state == worst and check.since is not None]
    since = min(begun) if begun else None
    clues = [clue for check in checks for clue in check.clues]
    return Outcome(worst, telling[0].symptom, since, suspects(clues, since, now))


def suspects(clues: Iterable[Clue], since: float | None, now: float) -> tuple[Suspect, ...]:
    """The causes that clues speak for, the likeliest first.

    Args:
        since: when the trouble began; None: it is not known.
    """
    found: dict[str, list[Clue]] = {}
    for clue in clues:
        found.setdefault(clue.key, []).append(clue)
    ranked = [_suspect(group, since, now) for group in found.values() if any(one.names for one in group)]
    ranked = [one for one in ranked if one.score >= LEAST_SCORE]
    ranked.sort(key=lambda one: (-one.score, -(one.at or 0.0), one.subject))
    return tuple(ranked[:MOST_SUSPECTS])


def _suspect(group: Sequence[Clue], since: float | None, now: float) -> Suspect:
    weights = {id(clue): clue.weight * closeness(clue.at, since, now, lasting=clue.lasting) for clue in group}
    named = max((clue for clue in group if clue.names), key=lambda clue: weights[id(clue)])
    doubt = math.prod(1 - min(1.0, max(0.0, weight)) for weight in weights.values())
    score = max(weights[id(named)], min(CORROBORATED, 1 - doubt))
    others = [clue.why for clue in group if clue is not named]
    return Suspect(
        kind=named.kind,
        subject=named.subject,
        text=named.text,
        at=named.at,
        score=round(min(1.0, score), 3),
        why=plain("; ".join(dict.fromkeys([_when(named, since), *others]))),
        event=named.event,
        evidence=tuple(dict.fromkeys([named.why, *others])),
        command=named.command,
    )


def _when(clue: Clue, since: float | None) -> str:
    if clue.at is None or since is None:
        return clue.why
    before = since - clue.at
    if before < -AFTERWARDS:
        return f"{clue.why}, {span(-before)} after it began"
    return f"{clue.why}, {span(max(0.0, before))} before it began"


def closeness(at: float | None, since: float | None, now: float, *, lasting: bool = False) -> float:
    """How well the time of a change fits the beginning of the trouble, 0..1; 1 where times say nothing."""
    if at is None:
        return 1.0
    before = (now if since is None else since) - at
    if before < -AFTERWARDS:
        return TOO_LATE
    if lasting:
        return 1.0
    return float(max(0.05, 0.5 ** (max(0.0, before - SHORTLY) / HALF_LIFE)))


def span(seconds: float) -> str:
    """``40s``, ``12m``, ``3h``, ``2d``."""
    for limit, size, unit in ((100, 1, "s"), (6000, 60, "m"), (172_800, 3600, "h")):
        if seconds < limit:
            return f"{int(seconds // size)}{unit}"
    return f"{int(seconds // 86_400)}d"


# --- pages


def pages_of(book: Book, alerts: Sequence[Alert]) -> dict[str, Alert]:
    """The runbooks that alerts name, or that name them, with the first alert of each.

    Of several that name an alert those come first that it tells the most: what can be run as it stands.
    """
    found: dict[str, Alert] = {}
    for alert in alerts:
        named = alert.annotations.get("runbook", "")
        if named in book.runbooks:
            found.setdefault(named, alert)
        naming = [page for page in book.runbooks.values() if alert.name and alert.name in page.head.alerts]
        for page in sorted(naming, key=lambda page: (_untold(page, alert), page.name)):
            found.setdefault(page.name, alert)
    return found


def _untold(page: Runbook, alert: Alert) -> int:
    """How many parameters a person would have to give."""
    labels = alert.labels
    told = parameters(page, labels.get("environment", ""), labels.get("service", ""), labels)
    return len(lacking(page, told))


def pages(
    book: Book,
    environment: str,
    service: str,
    alerts: Sequence[Alert],
    suspected: Sequence[Suspect],
    checks: Iterable[Check],
) -> tuple[Page, ...]:
    """The pages that are about it, the one to follow first: those of the alerts, of the suspects, of the symptoms.

    Then those of troubleshooting/ that name the service.
    """
    checks = tuple(checks)
    found: dict[str, Page] = {}
    for name, alert in pages_of(book, alerts).items():
        found[name] = _page(book.runbooks[name], f"{plain(alert.name)[:80]} fires")
    usual = {
        (clue.kind, clue.subject): clue.runbooks for check in checks for clue in check.clues if clue.runbooks
    }
    for suspect in suspected:
        for name in usual.get((suspect.kind, suspect.subject), ()):
            if name in book.runbooks and name not in found:
                found[name] = _page(book.runbooks[name], f"it is about {suspect.kind}: {suspect.text}")
    for check in checks:
        for name in check.runbooks if check.symptom else ():
            if name in book.runbooks and name not in found:
                found[name] = _page(book.runbooks[name], check.symptom)
    troubles = [
        Page(name=page.name, title=page.title, file=page.file, why=f"it names {service}")
        for page in book.troubleshooting
        if service in page.services and (not page.environments or environment in page.environments)
    ]
    return (*list(found.values())[:MOST_PAGES], *troubles[:MOST_PAGES])


def _page(page: Runbook, why: str) -> Page:
    return Page(
        name=page.name, title=plain(page.title), file=page.file, why=plain(why), executable=page.executable
    )


def parameters(page: Runbook, environment: str, service: str, labels: Mapping[str, str]) -> dict[str, str]:
    """What a page is told: the service and the environment, and labels of the alert by the names of its parameters."""
    found: dict[str, str] = {}
    for name, spec in page.head.params.items():
        if spec.sensitive:
            continue
        if spec.type == "service" and service:
            found[name] = service
        elif spec.type == "environment" and environment:
            found[name] = environment
        elif name in labels:
            found[name] = labels[name]
    return found


def lacking(page: Runbook, given: Mapping[str, str]) -> list[str]:
    """The parameters that a person must give."""
    return [name for name, spec in page.head.params.items() if name not in given and spec.default is None]


# --- what to do


def next_step(
    found: Outcome,
    environment: str,
    service: str,
    *,
    page: Runbook | None,
    labels: Mapping[str, str],
    run: str = "",
) -> Next:
    """The command to type next.

    Args:
        page: the runbook to follow. labels: of the alert that leads to it.
        run: one of `page` that is under way.
    """
    if found.state == "ok":
        return Next(command="opsbook status", why="nothing is wrong that can be seen from here")
    first = found.suspects[0] if found.suspects else None
    if first is not None and first.command and first.score >= 0.5:
        return Next(command=first.command, why=first.text)
    if page is not None and run:
        return Next(command=f"opsbook runs show {run} --follow", why=f"{page.name} runs already")
    if page is not None and page.steps:
        return Next(command=run_command(page, environment, service, labels), why=f"“{plain(page.title)}”")
    if page is not None:
        return Next(
            command=f"opsbook runbooks show {shlex.quote(page.name)}",
            why=f"“{plain(page.title)}” is about it",
        )
    if first is not None and first.command:
        return Next(command=first.command, why=first.text)
    if not service:
        return Next(command="opsbook alerts", why="what fires, and for how long")
    return Next(
        command=f"opsbook logs {shlex.quote(service)} --env {shlex.quote(environment)} --level warning --since 15m",
        why="what it says itself",
    )


def run_command(page: Runbook, environment: str, service: str, labels: Mapping[str, str]) -> str:
    """The command that runs a page; what must still be given stands in it as ``...``.

    Values of labels are other people's words: a value that could not be a parameter is left to the person.
    """
    given = parameters(page, environment, service, labels)
    words = ["opsbook run", shlex.quote(page.name)]
    for name, spec in page.head.params.items():
        value = given.get(name)
        if value is not None and plain(value) == value and len(value) <= 200:
            if spec.default is None or spelled(spec.default) != value:
                words.append(f"--param {shlex.quote(f'{name}={value}')}")
        elif spec.default is None:
            words.append(f"--param {name}=...")
    return " ".join(words)
