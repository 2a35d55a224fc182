"""The words of messages."""

from __future__ import annotations

import pytest

from opsbook.monitoring.alerting.model import Alert, GroupMessage, Notification
from opsbook.monitoring.notifications.rendering import written
from opsbook.world.channels.words import Message


def render(
    *alerts: Alert,
    resolved: tuple[Alert, ...] = (),
    title: str | None = None,
    text: str | None = None,
    reminder: bool = False,
) -> Message:
    group = GroupMessage(
        key="k", labels={"alertname": "A"}, firing=alerts, resolved=resolved, reminder=reminder
    )
    notification = Notification(id="id", channel="chat", groups=(group,), at=1_700_000_000.0)
    return written(notification, title=title, text=text, url="http://ops")


def alert(number: int = 0, summary: str = "it is down", **labels: str) -> Alert:
    given = {"alertname": "Down", "severity": "critical", "service": "web", "environment": "production"}
    return Alert(
        given | labels | ({"n": str(number)} if number else {}),
        {"summary": summary, "runbook": "down"},
        starts_at=1_700_000_000.0,
        ends_at=1_700_000_060.0,
        value=2.0,
    )


def test_a_message_says_what_where_since_when_and_what_to_do() -> None:
    """Without a template of the channel's own."""
    found = render(alert())

    assert "[FIRING] Down · web in production" == found.title
    assert (
        """\
✖ critical: it is down
  environment=production service=web
  since 2023-11-14 22:13:20 UTC, value 2
  runbook: down
http://ops/alerts"""
        == found.text
    )
    assert ("trigger", "critical") == (found.action, found.severity)


def test_an_end_says_from_when_until_when() -> None:
    """And counts as resolved only when nothing of the group fires."""
    found, mixed = render(resolved=(alert(),)), render(alert(1), resolved=(alert(),))

    assert "[RESOLVED] Down · web in production" == found.title
    assert "since 2023-11-14 22:13:20 UTC until 2023-11-14 22:14:20 UTC" in found.text
    assert ("resolve", "trigger") == (found.action, mixed.action)


def test_a_long_list_is_counted_not_listed() -> None:
    """People read the first twenty; machines get all."""
    found = render(*(alert(number) for number in range(1, 51)))

    assert "[FIRING:50] Down · web in production" == found.title
    assert "... and 30 more" in found.text
    assert 50 == len(found.body["alerts"])


def test_a_channel_has_its_own_words() -> None:
    """Jinja, with the alerts as values."""
    found = render(
        alert(),
        title="{{ status }} {{ labels.service }}",
        text="{% for a in alerts %}{{ a.labels.environment }}: {{ a.annotations.summary }}{% endfor %}",
    )

    assert ("firing web", "production: it is down") == (found.title, found.text)


@pytest.mark.parametrize(
    "template",
    [
        "{{ ''.__class__.__mro__ }}",
        "{{ alerts.append(1) }}",
        "{{ 'x' * 10 ** 9 }}",
        "{{ 10 ** 10 ** 10 }}",
        "{{ 1 / 0 }}",
        "{% for a in range(10 ** 9) %}x{% endfor %}",
        "{{ undefined.thing }}",
    ],
)
def test_a_template_that_fails_keeps_nobody_from_being_told(template: str) -> None:
    """Our own words are sent instead, and what is wrong with it; nothing of the machine can be reached."""
    found = render(alert(), text=template)

    assert "it is down" in found.text
    assert "the channel's template failed" in found.text


def test_what_an_alert_says_is_only_ever_a_value() -> None:
    """No template in a label is expanded, no tag is one in HTML, no line of its own in a text."""
    hostile = alert(summary="{{ 7 * 7 }} <script>alert(1)</script>\n✔ resolved: all is well")
    found = render(hostile)

    assert "{{ 7 * 7 }}" in found.text
    assert "<script>" not in found.html
    assert "\n✔ resolved" not in found.text


def test_a_reminder_says_so() -> None:
    """So that nobody looks for what is new."""
    assert render(alert(), reminder=True).text.startswith("Still firing.")
