"""What changed near the start of an incident, ranked. Pure.

A score is no probability: it orders. It is how often such a change is the cause, times how well the time fits, times
how near it is to what fails. A release that went live on the failing service in the half hour before comes first,
whatever else happened; what was done after it was noticed is a remedy, and no suspect.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, Protocol

from opsbook.response.incidents.model import Incident, Suspect
from opsbook.response.incidents.text import line
from opsbook.terminal import duration

LOOK_BACK: Final = 6 * 3600.0
"""Seconds before the start in which changes are looked for."""
AFTER: Final = 60.0
"""What is written down so much later may still have been the cause: alerts see late, and clocks differ."""
# Beside these, `alert.firing`: there may be so many of them that they are asked for apart.
KINDS: Final = (
    "deployment.requested", "deployment.phase", "deployment.succeeded", "deployment.reverted",
    "deployment.rolled_back", "deployment.aborted", "deployment.failed", "deployment.superseded", "release.created",
    "book.changed", "book.version_written", "instance.changed", "probe.down", "traffic.proxy", "runbook.started",
)  # fmt: skip
MOST: Final = 8
_HALF: Final = 1200.0  # seconds after which the time speaks half as much for a change
_HALF_OF_RELEASES: Final = 3600.0  # they fail late too: when a cache is full, when load comes
_WEIGHTS: Final = {"deployment": 0.95, "rollback": 0.6, "book": 0.55, "secret": 0.55, "scaling": 0.55,
                   "dependency": 0.6, "crash": 0.5, "proxy": 0.5, "alert": 0.35, "runbook": 0.3}  # fmt: skip
_LIVE: Final = frozenset({"shifting", "promoting", "watching", "done"})  # phases in which the version serves
_GONE: Final = frozenset({"reverted", "rolled_back", "aborted", "failed", "superseded"})
_WHEN_GONE: Final = 0.25  # of what it would weigh: it may have left something behind
_REMEDIES: Final = frozenset({"rollback", "runbook"})


class Happened(Protocol):
    """An event of the journal."""

    @property
    def id(self) -> int: ...
    @property
    def at(self) -> float: ...
    @property
    def kind(self) -> str: ...
    @property
    def subject(self) -> str: ...
    @property
    def actor(self) -> str: ...
    @property
    def data(self) -> Any: ...


@dataclass(frozen=True, slots=True)
class _Found:
    key: str
    kind: str
    subject: str
    text: str
    at: float
    event: int
    service: str = ""


def suspects(
    incident: Incident, events: Iterable[Happened], *, related: Callable[[str, str], bool]
) -> tuple[Suspect, ...]:
    """The likeliest first, at most `MOST`.

    Args:
        events: of `KINDS` and `alert.firing`, from `LOOK_BACK` before the start on.
        related: whether one service depends on the other.
    """
    latest, ordered = incident.started_at + AFTER, sorted(events, key=lambda one: one.id)
    ours = {event.data.get("commit") for event in ordered if event.kind == "book.version_written"} - {
        "",
        None,
    }
    live, found = _live(ordered), dict[str, _Found]()
    gone = _gone(ordered, live, incident.started_at)
    for one in (
        *_secrets(ordered),
        *(
            read
            for event in ordered
            if not (event.kind == "book.changed" and event.data.get("commit") in ours)  # opsbook wrote it
            and (read := _read(event, incident)) is not None
        ),
    ):
        known = replace(one, at=live[one.key], text=f"{one.text}, and went live") if one.key in live else one
        if not incident.started_at - LOOK_BACK <= known.at <= latest:
            continue
        if known.kind in _REMEDIES and known.at >= min(incident.started_at, incident.detected_at):
            continue
        if known.key in found and known.kind == "crash":
            continue  # the first end of an instance is the one that says something
        found[known.key] = known
    ranked = sorted(
        (_scored(one, incident, related, gone=one.key in gone) for one in found.values()),
        key=lambda one: (-one.score, -one.at, one.event),
    )
    return tuple(one for one in ranked if one.score > 0.02)[:MOST]


def _live(events: Iterable[Happened]) -> dict[str, float]:
    """When each deployment first changed what serves."""
    found: dict[str, float] = {}
    for event in events:
        serves = event.kind == "deployment.phase" and event.data.get("phase") in _LIVE
        if serves or event.kind == "deployment.succeeded":
            found.setdefault(f"deployment:{event.data.get('id')}", event.at)
    return found


def _gone(events: Iterable[Happened], live: Mapping[str, float], before: float) -> set[str]:
    """The deployments that did not serve any more when it began: taken back, or another release went live."""
    taken_back, serving, gone = set[str](), dict[str, str](), set[str]()
    for event in events:
        key = f"deployment:{event.data.get('id')}"
        if event.at < before and event.kind.partition(".")[2] in _GONE:
            taken_back.add(key)
        elif event.kind == "deployment.requested" and event.data.get("kind", "deploy") in (
            "deploy",
            "rollback",
        ):
            serving[key] = event.subject
    for subject in set(serving.values()):
        mine = [one for one in serving if serving[one] == subject and one in live and live[one] < before]
        last = max((one for one in mine if one not in taken_back), key=lambda one: live[one], default="")
        gone |= {one for one in mine if last and live[one] < live[last]}
    return taken_back | gone


def _secrets(events: Iterable[Happened]) -> Iterator[_Found]:
    """Secrets whose value another release brought."""
    before: dict[str, Mapping[str, Any]] = {}
    for event in events:
        if event.kind != "release.created" or not isinstance(event.data.get("secrets"), Mapping):
            continue
        present, known = event.data["secrets"], before.get(event.subject)
        before[event.subject] = present
        service = event.subject.rpartition("/")[2]
        for name, version in present.items() if known is not None else ():
            if known is not None and known.get(name) != version:
                what = "has another value" if name in known else "is new"
                since = line(str(event.data.get("version")), 60)
                text = f"the secret {line(str(name), 60)} of {service} {what}, since {since}"
                yield _Found(
                    f"secret:{event.id}:{name}", "secret", event.subject, text, event.at, event.id, service
                )


def _read(event: Happened, incident: Incident) -> _Found | None:
    environment, _, service = event.subject.partition("/")
    data = event.data
    if event.kind == "book.changed":
        services = [str(one).rpartition("/")[2] for one in data.get("services", ())]
        if not services:
            return None
        mine = [one for one in services if one in incident.services]
        said = line(", ".join(services), 80)
        commit = str(data.get("commit", ""))[:10]
        text = f"the handbook changed for {said}" + (f" (commit {commit})" if commit else "")
        return _Found(f"book:{event.id}", "book", "handbook", text, event.at, event.id, (mine or services)[0])
    if incident.environment and environment != incident.environment:
        return None
    match event.kind:
        case "deployment.requested":
            return _deployment(event, service, data)
        case "runbook.started" if not data.get("looking"):
            text = f"{line(event.actor, 40)} ran the page {line(str(data.get('page', '')), 60)}"
            return _Found(
                f"run:{data.get('id')}", "runbook", event.subject, text, event.at, event.id, service
            )
        case "instance.changed" if data.get("exit"):
            text = f"an instance of {service} ended: {line(str(data.get('exit')), 80)}"
            return _Found(f"crash:{event.subject}", "crash", event.subject, text, event.at, event.id, service)
        case "probe.down":
            name = line(str(data.get("probe") or data.get("name") or event.subject), 60)
            return _Found(
                f"probe:{name}",
                "dependency",
                event.subject,
                f"{name} does not answer its probe",
                event.at,
                event.id,
                service,
            )
        case "traffic.proxy":
            return _Found(
                f"proxy:{event.id}",
                "proxy",
                event.subject,
                f"the proxy: {line(str(data.get('message', '')), 80)}",
                event.at,
                event.id,
            )
        case "alert.firing":
            return _alert(event, incident, data)
    return None


def _deployment(event: Happened, service: str, data: Any) -> _Found | None:
    kind, version = str(data.get("kind", "deploy")), line(str(data.get("version", "")), 60)
    by = f" by {line(event.actor, 40)}" if event.actor else ""
    words = {
        "deploy": ("deployment", f"{service} {version} was deployed{by}"),
        "rollback": ("rollback", f"{service} was rolled back to {version}{by}"),
        "scale": ("scaling", f"{service} was scaled{by}"),
        "restart": ("scaling", f"{service} was restarted{by}"),
    }
    name, text = words.get(kind, ("deployment", f"{service}: {kind} {version}{by}"))
    return _Found(f"deployment:{data.get('id')}", name, event.subject, text, event.at, event.id, service)


def _alert(event: Happened, incident: Incident, data: Any) -> _Found | None:
    labels = data.get("labels", {})
    fingerprint = str(data.get("fingerprint", ""))
    if not isinstance(labels, dict) or any(one.fingerprint == fingerprint for one in incident.alerts):
        return None
    name, service = line(str(labels.get("alertname", "")), 60), line(str(labels.get("service", "")), 60)
    if not name:
        return None
    text = f"{name} fires" + (f" for {service}" if service else "")
    return _Found(
        f"alert:{fingerprint or event.id}", "alert", event.subject, text, event.at, event.id, service
    )


def _scored(one: _Found, incident: Incident, related: Callable[[str, str], bool], *, gone: bool) -> Suspect:
    before = incident.started_at - one.at
    half = _HALF_OF_RELEASES if one.kind == "deployment" else _HALF
    fits = 0.5 ** (max(before, 0.0) / half) if before >= 0 else 0.6
    near, how = _nearness(one, incident.services, related)
    when = (
        f"{duration(before)} before it began"
        if before >= 1
        else "as it began"
        if before > -1
        else f"{duration(-before)} after it began"
    )
    return Suspect(
        kind=one.kind,
        subject=one.subject,
        text=one.text,
        at=one.at,
        score=round(_WEIGHTS.get(one.kind, 0.3) * fits * near * (_WHEN_GONE if gone else 1.0), 3),
        why=f"{when}, {how}" + (", and gone before it began" if gone else ""),
        event=one.event,
    )


def _nearness(one: _Found, services: Sequence[str], related: Callable[[str, str], bool]) -> tuple[float, str]:
    if not one.service:
        return 0.6, "on everything's way"
    if one.service in services:
        return 1.0, f"on {one.service} itself"
    for service in services:
        if related(one.service, service):
            return 0.8, f"{one.service} and {service} depend on each other"
    return (0.25, f"on {one.service}") if services else (0.6, f"on {one.service}")
