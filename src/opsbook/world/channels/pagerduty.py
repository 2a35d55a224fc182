"""PagerDuty by its Events API v2: an incident a group, triggered, acknowledged, resolved by the same key."""

from __future__ import annotations

import json
import socket
from datetime import UTC, datetime

from opsbook.world.channels.posting import Posting
from opsbook.world.channels.words import Message

_SEVERITIES = {"critical": "critical", "warning": "warning", "info": "info"}
_SUMMARY = 1024  # characters that PagerDuty takes


class PagerDuty:
    """Satisfies `Sender`.

    Args:
        routing_key: the integration key of a service.
        events_url: where events go; there is one for each of PagerDuty's regions.
    """

    def __init__(self, routing_key: str, events_url: str) -> None:
        self._routing_key = routing_key
        self._events_url = events_url
        self._posting = Posting()

    def send(self, message: Message) -> str:
        """See `Sender.send`."""
        event = {
            "routing_key": self._routing_key,
            "event_action": message.action,
            "dedup_key": message.thread,
            "client": "opsbook",
        }
        if message.url:
            event["client_url"] = message.url
        said: dict[str, object] = dict(event)
        if message.action == "trigger":
            said["payload"] = {
                "summary": message.title[:_SUMMARY],
                "source": socket.gethostname(),
                "severity": _SEVERITIES.get(message.severity, "error"),
                "timestamp": datetime.fromtimestamp(message.at, UTC).isoformat(timespec="milliseconds"),
                "custom_details": {"text": message.text, **message.body},
            }
        body = json.dumps(said, ensure_ascii=False).encode("utf-8", "replace")
        return self._posting.post(self._events_url, body, {"Content-Type": "application/json"})

    def close(self) -> None:
        """See `Sender.close`."""
        self._posting.close()
