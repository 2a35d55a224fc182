"""The kinds of events that the server itself writes."""

from __future__ import annotations

from opsbook.journal import register

register("server.started", "opsbook began to work.", {"version": "its version"})
register("server.stopped", "opsbook was asked to end.", {"services": "true when it ended the services too"})
