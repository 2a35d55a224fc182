"""From the handbook to objectives: those that are written, and the default ones. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from opsbook.book import Book
from opsbook.book.effective import HTTP_PORTS
from opsbook.book.quantities import spelled_duration
from opsbook.book.slos import DefaultSlos, SloSpec, filled, is_selector
from opsbook.monitoring.slos.model import Indicator, Objective

REQUESTS = "envoy_cluster_upstream_rq_xx"
TIMES = "envoy_cluster_upstream_rq_time_bucket"
BOUNDS = (1, 2.5, 5, 10, 25, 50, 100, 250, 500, 1000, 2500, 5000, 10000)
"""Milliseconds that the proxy's histogram tells apart; a test keeps them in step with the proxy's."""
_P95 = 0.95


def objectives_of(book: Book) -> tuple[Objective, ...]:
    """Every objective in every environment, by id."""
    found: dict[str, Objective] = {}
    written = {slo.service for slo in book.slos.slos}
    for slo in book.slos.slos:
        for environment in _places(book, slo):
            objective = _written(book, slo, environment)
            found[objective.id] = objective
    if book.slos.defaults.enabled:
        for environment in book.environments:
            for service, effective in book.effective_services(environment).items():
                if service not in written and effective.run.port in HTTP_PORTS:
                    for objective in _defaults(book, book.slos.defaults, environment, service):
                        found.setdefault(objective.id, objective)
    return tuple(found[name] for name in sorted(found))


def _places(book: Book, slo: SloSpec) -> tuple[str, ...]:
    if slo.environments is not None:
        return slo.environments
    if slo.service is None:
        return ("",)
    return tuple(name for name in book.environments if slo.service in book.effective_services(name))


def _written(book: Book, slo: SloSpec, environment: str) -> Objective:
    service = slo.service or ""
    return Objective(
        id=f"{environment}/{slo.name}" if environment else slo.name,
        name=slo.name,
        title=slo.display_name or slo.name,
        environment=environment,
        service=service,
        what=slo.description or "",
        kind=slo.indicator.kind,
        indicator=_indicator(slo, environment, service),
        target=slo.target,
        window=slo.time_window,
        slice={"1m": 60.0, "5m": 300.0}[slo.time_slice_window]
        if slo.budgeting_method == "Timeslices"
        else None,
        slice_target=slo.time_slice_target,
        alerting=slo.alerting,
        policy=slo.budget_policy or book.slos.budget_policy,
        labels=slo.labels,
    )


def _defaults(book: Book, said: DefaultSlos, environment: str, service: str) -> Iterator[Objective]:
    kinds = (
        ("availability", "Requests without an error", said.availability, _available(environment, service)),
        (
            "latency",
            f"Requests answered within {spelled_duration(bound(said.latency) / 1000)}",
            _P95,
            _fast(environment, service, said.latency),
        ),
    )
    for kind, what, target, indicator in kinds:
        name = f"{service}-{kind}"
        yield Objective(
            id=f"{environment}/{name}", name=name, title=name, environment=environment, service=service,
            what=what, kind=kind, indicator=indicator, target=target, window=said.time_window,
            policy=book.slos.budget_policy, default=True,
        )  # fmt: skip


def _indicator(slo: SloSpec, environment: str, service: str) -> Indicator:
    said = slo.indicator
    only = {"environment": environment, "service": service}
    if said.availability is not None:
        return _available(environment, service)
    if said.latency is not None:
        return _fast(environment, service, said.latency.threshold)
    if said.freshness is not None:
        metric = limited(said.freshness.metric, only)
        return Indicator("looks", f"time() - max({metric})", op="lte", limit=said.freshness.threshold)
    if said.probe is not None:
        return Indicator("looks", f'probe_success{{probe="{said.probe}"}}', op="gte", limit=1.0)
    if (threshold := said.threshold_metric) is not None:
        query = limited(threshold.query, only) if is_selector(threshold.query) else threshold.query
        return Indicator(
            "looks", _in_place(query, environment, service), op=threshold.op, limit=threshold.threshold
        )
    ratio = said.ratio_metric
    assert ratio is not None
    texts = {key: getattr(ratio, key) or "" for key in ("good", "bad", "total")}
    if all(is_selector(text) for text in texts.values() if text):
        good, bad, total = (
            limited(texts[key], only) if texts[key] else "" for key in ("good", "bad", "total")
        )
        return Indicator("selectors", total, good=good, bad=bad)
    texts = {
        key: f"sum(increase({limited(text, only)}[$window]))" if text and is_selector(text) else text
        for key, text in texts.items()
    }
    good, bad, total = (_in_place(texts[key], environment, service) for key in ("good", "bad", "total"))
    return Indicator("expressions", total, good=good, bad=bad)


def _in_place(text: str, environment: str, service: str) -> str:
    return filled(text, window="$window", environment=environment, service=service)


def _available(environment: str, service: str) -> Indicator:
    only = f'environment="{environment}",service="{service}"'
    return Indicator(
        "selectors", f"{REQUESTS}{{{only}}}", bad=f'{REQUESTS}{{{only},response_code_class="5"}}'
    )


def _fast(environment: str, service: str, threshold: float) -> Indicator:
    only = f'environment="{environment}",service="{service}"'
    return Indicator(
        "selectors",
        f'{TIMES}{{{only},le="+Inf"}}',
        good=f'{TIMES}{{{only},le="{bound(threshold):g}"}}',
    )


def bound(threshold: float) -> float:
    """The bound of the histogram, in milliseconds, that is nearest to `threshold` (seconds) and not above it."""
    return max((one for one in BOUNDS if one <= threshold * 1000 + 1e-9), default=BOUNDS[0])


def limited(selector: str, labels: Mapping[str, str]) -> str:
    """The selector with those of `labels` that it says nothing of; empty ones are left out."""
    name, _, inside = selector.strip().partition("{")
    inside = inside.rstrip().removesuffix("}").strip().rstrip(",")
    more = [f'{label}="{value}"' for label, value in labels.items() if value and not _mentions(inside, label)]
    parts = [part for part in (inside, *more) if part]
    return f"{name.strip()}{{{','.join(parts)}}}" if parts else name.strip()


def _mentions(inside: str, label: str) -> bool:
    from opsbook.promql.parsing import parse  # needs numpy

    chosen = parse(f"x{{{inside}}}").selectors[0].matchers if inside else ()
    return any(matcher.label == label for matcher in chosen)
