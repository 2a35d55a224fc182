"""What differs between two environments, service by service and field by field."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from opsbook.book.effective import EffectiveService
from opsbook.book.model import Book
from opsbook.book.quantities import spelled_duration, spelled_size
from opsbook.book.scalars import flow

ABSENT = "not there"


@dataclass(frozen=True, slots=True)
class Difference:
    """One field of one service that is not the same. Secrets appear by name only."""

    service: str
    field: str  # "replicas", "env.LOG_LEVEL"; "service" when it is in one environment only
    left: str
    right: str

    def to_json(self) -> dict[str, str]:
        return asdict(self)


def differences(book: Book, left: str, right: str) -> tuple[Difference, ...]:
    """What differs between the environments `left` and `right`, by service name, then field.

    Raises:
        NotFound: one of them is unknown.
    """
    here, there = book.effective_services(left), book.effective_services(right)
    return tuple(
        difference
        for name in sorted(here.keys() | there.keys())
        for difference in _of_service(name, here.get(name), there.get(name))
    )


def _of_service(
    name: str, left: EffectiveService | None, right: EffectiveService | None
) -> Iterator[Difference]:
    if left is None or right is None:
        yield Difference(
            name, "service", ABSENT if left is None else "there", ABSENT if right is None else "there"
        )
        return
    a, b = _fields(left), _fields(right)
    if left.strategy.name == right.strategy.name and left.strategy != right.strategy:
        # One of them is written in place, so the name alone does not say what differs.
        a |= dict(_flat({"strategy": _strategy(left)}))
        b |= dict(_flat({"strategy": _strategy(right)}))
    for field in sorted(a.keys() | b.keys()):
        if a.get(field) != b.get(field):
            yield Difference(name, field, a.get(field, ABSENT), b.get(field, ABSENT))


def _fields(service: EffectiveService) -> dict[str, str]:
    rendered = service.rendered()
    del rendered["service"]
    for key in ("interval", "timeout", "start_timeout"):
        rendered["health"][key] = spelled_duration(rendered["health"][key])
    if service.resources.memory is not None:
        rendered["resources"]["memory"] = spelled_size(service.resources.memory)
    nested: dict[str, Any] = {
        **rendered,
        "runtime": service.runtime,
        "version": service.version,
        "replicas": service.replicas,
        "strategy": service.strategy.name,
        "stop_grace": spelled_duration(service.stop_grace),
    }
    if service.route is not None:
        timeout = service.route.timeout
        nested["route"] = {
            **asdict(service.route), "timeout": "none" if timeout is None else spelled_duration(timeout),
        }  # fmt: skip
    return dict(_flat(nested))


def _strategy(service: EffectiveService) -> dict[str, Any]:
    strategy = asdict(service.strategy)
    for key in ("max_surge", "max_unavailable"):
        strategy[key] = getattr(service.strategy, key)
    for key in ("steps", "analysis"):
        strategy[key] = [flow(part.model_dump(mode="json", exclude_none=True)) for part in strategy[key]]
    for key in ("crash_loop", "pin", "probe_load"):
        strategy[key] = strategy[key] and strategy[key].model_dump(mode="json")
    return {**strategy, "rollback_on": list(strategy["rollback_on"])}


def _flat(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    for key, value in values.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{key}.")
        elif value is None or value == []:
            continue
        else:
            yield f"{prefix}{key}", " ".join(value) if isinstance(value, list) else str(value)
