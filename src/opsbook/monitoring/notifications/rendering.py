"""The words of a message, from the channel's templates or our own. Pure.

Templates are Jinja's, in its sandbox: they are text of the handbook, while labels and annotations come from anywhere.
What an alert says is only ever a value in them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

from jinja2 import StrictUndefined, Template, TemplateError, Undefined
from jinja2.exceptions import SecurityError
from jinja2.sandbox import ImmutableSandboxedEnvironment

from opsbook.monitoring.alerting.model import Alert, Notification
from opsbook.monitoring.notifications.payload import common, payload, rfc3339
from opsbook.world.channels.words import Action, Message

_MOST = 20  # alerts that a text lists; the rest is counted
_LONGEST = 16_000  # characters of a text; what a template makes beyond is cut
_RANK = {"critical": 0, "warning": 1, "info": 2}

TITLE = (
    "[{{ status | upper }}{% if firing | length > 1 %}:{{ firing | length }}{% endif %}] {{ name }}"
    "{% if where %} · {{ where }}{% endif %}"
)
TEXT = """\
{% if acknowledged %}Silenced: somebody knows.
{% endif %}{% if reminder %}Still firing.
{% endif %}{% for alert in alerts %}\
{{ "✔ resolved" if alert.status == "resolved" else "✖ " ~ (alert.severity or "alert") }}: \
{{ alert.summary or alert.name }}
{% if alert.description and alert.description != alert.summary %}  {{ alert.description }}
{% endif %}  {{ alert.labels_text }}
  since {{ alert.since }}{% if alert.status == "resolved" %} until {{ alert.until }}{% endif %}\
{% if alert.value is not none %}, value {{ alert.value }}{% endif %}
{% if alert.runbook %}  runbook: {{ alert.runbook }}
{% endif %}{% endfor %}{% if more %}... and {{ more }} more
{% endif %}{% if url %}{{ url }}
{% endif %}"""
HTML = """\
<!doctype html><html><body style="font-family:system-ui,sans-serif;line-height:1.45;color:#1b1f24">
<h2 style="margin:0 0 12px;font-size:18px">{{ title }}</h2>
{% for alert in alerts %}<div style="margin:0 0 12px;padding:8px 12px;border-left:4px solid \
{{ "#2e7d32" if alert.status == "resolved" else "#c62828" if alert.severity == "critical" else "#ef6c00" }}">
<b>{{ alert.summary or alert.name }}</b> ({{ alert.status }}{% if alert.severity %}, {{ alert.severity }}{% endif %})\
<br>
{% if alert.description %}{{ alert.description }}<br>{% endif %}
<small>{{ alert.labels_text }}<br>since {{ alert.since }}{% if alert.status == "resolved" %} until {{ alert.until }}\
{% endif %}{% if alert.runbook %}<br>runbook: {{ alert.runbook }}{% endif %}</small></div>
{% endfor %}{% if more %}<p>… and {{ more }} more</p>{% endif %}
{% if url %}<p><a href="{{ url }}">{{ url }}</a></p>{% endif %}</body></html>
"""
PLAIN = """\
<!doctype html><html><body style="font-family:system-ui,sans-serif;line-height:1.45;color:#1b1f24">
<h2 style="margin:0 0 12px;font-size:18px">{{ title }}</h2>
<pre style="font:inherit;white-space:pre-wrap;overflow-wrap:anywhere">{{ text }}</pre>
{% if url %}<p><a href="{{ url }}">{{ url }}</a></p>{% endif %}</body></html>
"""


class _Sandbox(ImmutableSandboxedEnvironment):
    """Without what could make a text of any length from a short template."""

    def call_binop(self, context: Any, operator: str, left: Any, right: Any) -> Any:
        sizes = [len(one) for one in (left, right) if isinstance(one, str | list | tuple)]
        if operator == "**" or (operator == "*" and sizes and max(sizes) * _number(left, right) > _LONGEST):
            raise SecurityError(f"{operator} would make too much of it")
        return super().call_binop(context, operator, left, right)

    intercepted_binops = frozenset({"**", "*"})


def _number(left: Any, right: Any) -> int:
    return max((one for one in (left, right) if isinstance(one, int)), default=1)


_TEXTS = _Sandbox(undefined=Undefined, autoescape=False)  # for plain text
_PAGES = _Sandbox(undefined=StrictUndefined, autoescape=True)


@lru_cache(maxsize=256)
def _parsed(text: str) -> Template:
    return _TEXTS.from_string(text)


_HTML = _PAGES.from_string(HTML)
_PLAIN = _PAGES.from_string(PLAIN)


def written(notification: Notification, *, title: str | None, text: str | None, url: str) -> Message:
    """The message that a notification is sent as. A template that fails is replaced by our own, and it is said.

    Args:
        title, text: the channel's own templates.
        url: of this opsbook's console; may be empty.
    """
    context = _context(notification, url)
    words = notification.words
    if words is not None:  # whoever is paged reads what was written for them
        context["url"] = words.url or context["url"]
    said_title = _expanded(title, TITLE, context) if words is None else words.title
    said_text = _expanded(text, TEXT, context) if words is None else _cut(words.text)
    group = notification.groups[0]
    severities = [alert.severity for alert in (*notification.firing, *notification.resolved)]
    return Message(
        id=notification.id,
        thread=hashlib.sha256(group.key.encode("utf-8", "replace")).hexdigest()[:32],
        action=_action(notification),
        severity=min(severities, key=lambda one: _RANK.get(one, 3), default=""),
        title=" ".join(said_title.split()) or notification.status,
        text=said_text.strip(),
        html=(_HTML if words is None else _PLAIN).render({**context, "title": said_title, "text": said_text}),
        body=payload(notification, url=url),
        url=str(context["url"]),
        at=notification.at,
    )


def _action(notification: Notification) -> Action:
    if all(group.acknowledged for group in notification.groups):
        return "acknowledge"
    return "trigger" if notification.status == "firing" else "resolve"


def _expanded(own: str | None, ours: str, context: Mapping[str, Any]) -> str:
    if own is None:
        return _parsed(ours).render(context)
    try:
        return _cut(_parsed(own).render(context))
    except (TemplateError, ArithmeticError, LookupError, TypeError, ValueError) as error:
        # What is said must arrive, also when somebody's template is wrong about it.
        fault = f"(the channel's template failed: {' '.join(str(error).split())[:200]})"
        return f"{_parsed(ours).render(context)} {fault}"


def _cut(text: str) -> str:
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"


def _context(notification: Notification, url: str) -> dict[str, Any]:
    firing = [_told(alert, "firing") for alert in _worst_first(notification.firing)]
    resolved = [_told(alert, "resolved") for alert in _worst_first(notification.resolved)]
    every = [*firing, *resolved]
    labels = common(alert["labels"] for alert in every) or common(g.labels for g in notification.groups)
    names = list(dict.fromkeys(alert["name"] for alert in every if alert["name"]))
    name = labels.get("alertname") or (", ".join(names[:3]) + (" ..." if len(names) > 3 else "")) or "alerts"
    service, environment = labels.get("service", ""), labels.get("environment", "")
    where = " in ".join(one for one in (service, environment) if one) or labels.get("host", "")
    link = f"{url}/alerts" if url else ""
    return {
        "status": notification.status,
        "acknowledged": all(group.acknowledged for group in notification.groups),
        "reminder": all(group.reminder for group in notification.groups),
        "name": name,
        "where": where,
        "labels": labels,
        "annotations": common(alert["annotations"] for alert in every),
        "firing": firing,
        "resolved": resolved,
        "alerts": every[:_MOST],
        "more": max(0, len(every) - _MOST),
        "channel": notification.channel,
        "groups": [dict(group.labels) for group in notification.groups],
        "at": rfc3339(notification.at),
        "url": link,
    }


def _worst_first(alerts: tuple[Alert, ...]) -> list[Alert]:
    return sorted(alerts, key=lambda alert: (_RANK.get(alert.severity, 3), alert.starts_at))


def _told(alert: Alert, status: str) -> dict[str, Any]:
    labels = dict(alert.labels)
    shown = {key: value for key, value in labels.items() if key not in ("alertname", "severity")}
    return {
        "status": status,
        "name": alert.name,
        "severity": alert.severity,
        "labels": labels,
        "annotations": dict(alert.annotations),
        "labels_text": " ".join(f"{key}={_line(value)}" for key, value in sorted(shown.items())) or "-",
        "summary": _line(alert.annotations.get("summary", "")),
        "description": _line(alert.annotations.get("description", "")),
        "runbook": alert.annotations.get("runbook") or alert.annotations.get("runbook_url", ""),
        "since": _clock(alert.starts_at),
        "until": _clock(alert.ends_at) if alert.ends_at is not None else "",
        "value": None if alert.value is None else f"{alert.value:.6g}",
        "starts_at": rfc3339(alert.starts_at),
        "ends_at": "" if alert.ends_at is None else rfc3339(alert.ends_at),
        "fingerprint": alert.fingerprint,
        "generator_url": alert.generator_url,
    }


def _line(text: str) -> str:
    """On one line: a label must not look like a line of ours."""
    line = " ".join(text.split())
    return line if len(line) <= 500 else f"{line[:499]}…"


def _clock(at: float) -> str:
    try:
        return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    except (OverflowError, ValueError, OSError):
        return "?"
