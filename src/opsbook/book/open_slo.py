"""Documents of OpenSLO v1, as they are written elsewhere, in the words of `monitoring/slos.yaml`. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from opsbook.book.fields import expected, wrong

_PLAIN = ("description", "service", "timeWindow", "budgetingMethod")


def is_open_slo(value: Any) -> bool:
    """Whether it says of itself that it is one."""
    return isinstance(value, Mapping) and str(value.get("apiVersion", "")).startswith("openslo/")


def translated(document: Mapping[str, Any]) -> dict[str, Any]:
    """The entry of `slos` that says the same.

    Raises:
        PydanticCustomError: it is of another version or kind, or says what has no meaning here.
    """
    if document.get("apiVersion") != "openslo/v1":
        expected("apiVersion: openslo/v1")
    if document.get("kind") != "SLO":
        expected("kind: SLO")
    metadata, spec = _mapping(document, "metadata"), _mapping(document, "spec")
    if spec.get("indicatorRef") is not None:
        wrong("an indicator in another document is not looked for", "write it in place: indicator:")
    objectives = spec.get("objectives")
    if not isinstance(objectives, list | tuple) or len(objectives) != 1:
        wrong("expected exactly one objective", "write an SLO for each")
    found: dict[str, Any] = {"name": metadata.get("name"), "displayName": metadata.get("displayName")}
    found |= {key: spec[key] for key in _PLAIN if spec.get(key) is not None}
    objective = objectives[0] if isinstance(objectives[0], Mapping) else {}
    if objective.get("targetPercent") is not None:
        found["target"] = f"{objective['targetPercent']}%"
    elif objective.get("target") is not None:
        found["target"] = objective["target"]
    for key in ("timeSliceTarget", "timeSliceWindow"):
        if objective.get(key) is not None:
            found[key] = objective[key]
    indicator = _mapping(spec, "indicator")
    found["indicator"] = _indicator(_mapping(indicator, "spec") or indicator, objective)
    return {key: value for key, value in found.items() if value is not None}


def _indicator(spec: Mapping[str, Any], objective: Mapping[str, Any]) -> dict[str, Any]:
    if isinstance(ratio := spec.get("ratioMetric"), Mapping):
        said = {key: _query(ratio[key]) for key in ("good", "bad", "total") if ratio.get(key) is not None}
        return {"ratioMetric": said}
    if isinstance(threshold := spec.get("thresholdMetric"), Mapping):
        limit = {"op": objective.get("op", "lte"), "threshold": objective.get("value")}
        if limit["threshold"] is None:
            wrong("a thresholdMetric needs the value of its objective", "objectives: [{op: lte, value: 5}]")
        return {"thresholdMetric": {"query": _query(threshold), **limit}}
    return expected("ratioMetric or thresholdMetric")


def _query(metric: Any) -> Any:
    """``metricSource: {type: Prometheus, spec: {query}}``; a template's window is ours."""
    source = _mapping(metric, "metricSource") if isinstance(metric, Mapping) else {}
    query = _mapping(source, "spec").get("query") or _mapping(source, "spec").get("promql")
    if not isinstance(query, str):
        expected("metricSource: {spec: {query: PROMQL}}")
    return " ".join(query.replace("{{.window}}", "$window").replace("{{ .window }}", "$window").split())


def _mapping(value: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    found = value.get(key)
    return found if isinstance(found, Mapping) else {}
