"""What `opsbook plan` shows: the book beside the placements, and a check index that changes when either does."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from opsbook.book import Book, EffectiveService
from opsbook.deployment.entries import entry_of, with_urls
from opsbook.deployment.model import Entry, Placement, Release
from opsbook.deployment.site import Site
from opsbook.deployment.sources import label_of, rendered, secret_names, source_of
from opsbook.errors import OpsbookError


@dataclass(frozen=True, slots=True)
class Change:
    """One line of a plan. `symbol`: + is new, ~ changes, - goes, ! cannot be told or is held."""

    symbol: str
    service: str
    summary: str
    details: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class EnvironmentPlan:
    """All that would change in one environment."""

    environment: str
    check_index: int
    changes: tuple[Change, ...]
    protected: bool = False

    def to_json(self) -> dict[str, Any]:
        count = {symbol: sum(1 for c in self.changes if c.symbol == symbol) for symbol in "+~-!"}
        return {
            "environment": self.environment,
            "check_index": self.check_index,
            "protected": self.protected,
            "changes": [asdict(change) for change in self.changes],
            "summary": {
                "add": count["+"],
                "change": count["~"],
                "remove": count["-"],
                "attention": count["!"],
            },
        }


@dataclass(frozen=True, slots=True)
class Wanted:
    """What the book wants of one service, resolved as far as that is cheap."""

    version: str
    digest: str
    config: Mapping[str, Any]
    secrets: Mapping[str, str]
    replicas: int
    entry: Entry | None
    strategy: str
    trouble: str = ""


def environment_plan(
    site: Site, book: Book, environment: str, only: frozenset[str] = frozenset()
) -> EnvironmentPlan:
    """The plan of `environment`; `only` restricts it to some services."""
    placements = {placement.service: placement for placement in site.records.placements(environment)}
    releases = {release.id: release for release in site.records.releases(environment)}
    listed = book.environments[environment].services
    digests: dict[str, str] = {}
    changes: list[Change] = []
    for service in listed:
        if only and service not in only:
            continue
        wanted = _wanted(site, book, book.effective(environment, service), digests)
        placement = placements.get(service)
        present = releases.get(placement.release) if placement is not None else None
        if change := compare(service, wanted, placement, present):
            changes.append(change)
    gone = [name for name, placement in placements.items() if name not in listed and placement.release]
    changes += [
        Change(
            "-",
            service,
            f"{placements[service].version} is not in the handbook any more",
            ("opsbook leaves it running",),
        )
        for service in gone
        if not only or service in only
    ]
    order = "+~!-"
    changes.sort(key=lambda change: (order.index(change.symbol), change.service))
    return EnvironmentPlan(
        environment,
        check_index(book, environment, placements.values()),
        tuple(changes),
        protected=book.environments[environment].protect is not None,
    )


def compare(
    service: str, wanted: Wanted, placement: Placement | None, present: Release | None
) -> Change | None:
    """The change that brings `placement` to `wanted`; None when there is none. Pure."""
    if wanted.trouble:
        return Change("!", service, wanted.trouble)
    if placement is None or present is None:
        new = (f"{wanted.replicas} instances", f"strategy {wanted.strategy}")
        return Change("+", service, wanted.version, new)
    details = [*_differences(wanted, present)]
    if placement.replicas != wanted.replicas:
        details.append(f"replicas {placement.replicas} → {wanted.replicas}")
    if placement.entry != wanted.entry:
        details.append(f"entry {_url(placement.entry)} → {_url(wanted.entry)}")
    if not details:
        return None
    held = next((hold for hold in placement.holds if hold.version == wanted.version), None)
    summary = (
        f"{present.version} → {wanted.version}" if present.version != wanted.version else present.version
    )
    if held is not None:
        return Change("!", service, f"{summary}, which was taken back: {held.reason}", tuple(details))
    return Change("~", service, summary, (*details, f"strategy {wanted.strategy}"))


def check_index(book: Book, environment: str, placements: Any) -> int:
    """A number that stays the same exactly as long as the handbook and what runs do. Fits a JSON number."""
    content = [
        book.digest,
        environment,
        sorted((p.service, p.revision, p.release, p.replicas) for p in placements),
    ]
    return int(hashlib.sha256(json.dumps(content).encode()).hexdigest()[:12], 16)


def _wanted(site: Site, book: Book, effective: EffectiveService, digests: dict[str, str]) -> Wanted:
    version = digest = trouble = ""
    config: Mapping[str, Any] = {}
    secrets: dict[str, str] = {}
    entry = None
    try:
        source = source_of(site, effective)
        key = repr(source)
        if key not in digests:
            version = label_of(site, effective, None)
            digests[key] = site.releases.resolve(source, effective.name, version)
        version, digest = version or label_of(site, effective, None), digests[key]
        config = with_urls(site, book, effective.environment, rendered(effective))
        secrets = {name: site.secrets.version(name) for name in secret_names(effective)}
        entry = entry_of(site, book, effective.environment, effective.name)
    except OpsbookError as error:
        trouble = str(error)
    return Wanted(
        version=version,
        digest=digest,
        config=config,
        secrets=secrets,
        replicas=effective.replicas,
        entry=entry,
        strategy=effective.strategy.name,
        trouble=trouble,
    )


def _differences(wanted: Wanted, present: Release) -> list[str]:
    found = []
    if wanted.version != present.version:
        found.append(f"version {present.version} → {wanted.version}")
    if wanted.digest and wanted.digest not in (present.digest, present.commit):
        found.append("source changed")
    for key in sorted(set(wanted.config) | set(present.config)):
        old, new = present.config.get(key), wanted.config.get(key)
        if old == new:
            continue
        if key == "env":
            found += _variables(old or {}, new or {})
        else:
            found.append(f"{key} {_short(old)} → {_short(new)}")
    found += [
        f"secret {name} changed" for name, v in wanted.secrets.items() if present.secrets.get(name) != v
    ]
    return found


def _variables(old: Mapping[str, str], new: Mapping[str, str]) -> list[str]:
    lines = [f"env {name} added" for name in sorted(new.keys() - old.keys())]
    lines += [f"env {name} removed" for name in sorted(old.keys() - new.keys())]
    lines += [
        f"env {name} {old[n]} → {new[n]}"
        for n in sorted(old.keys() & new.keys())
        if old[n] != new[n]
        for name in [n]
    ]
    return lines


def _short(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value, default=str)
    return text if len(text) <= 60 else text[:57] + "..."


def _url(entry: Entry | None) -> str:
    return entry.url if entry is not None else "none"
