"""The status page as files that any web server, or an object store, can serve: no scripts, nothing from elsewhere."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from functools import cache
from typing import TYPE_CHECKING

from opsbook.response.postmortems.status_page import DAY, StatusPage
from opsbook.terminal.quantities import duration

if TYPE_CHECKING:
    from jinja2 import Environment

RECENT = 14  # days of past incidents on the first page
_SIGNS = {"ok": "●", "warning": "▲", "critical": "◆"}


def files(page: StatusPage) -> dict[str, str]:
    """``index.html``, ``history.html``, ``feed.xml`` (Atom) and ``status.json``, by name."""
    recent = tuple(one for one in page.past if (one.ended_at or 0.0) >= page.at - RECENT * DAY)
    templates = _templates()
    html = templates.get_template("status.html")
    return {
        "index.html": html.render(page=page, past=recent, whole=False),
        "history.html": html.render(page=page, past=page.past, whole=True),
        "feed.xml": templates.get_template("feed.xml").render(
            page=page, entries=sorted((*page.open, *page.past), key=lambda one: one.changed_at, reverse=True)
        ),
        "status.json": json.dumps(page.to_json(), ensure_ascii=False, indent=1) + "\n",
    }


@cache
def _templates() -> Environment:
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("opsbook.response.postmortems", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"moment": _moment, "iso": _iso, "duration": duration, "percent": _percent}
    environment.globals["signs"] = _SIGNS
    return environment


def _moment(at: float) -> str:
    return datetime.fromtimestamp(at, tz=UTC).strftime("%Y-%m-%d %H:%M UTC")


def _iso(at: float) -> str:
    return datetime.fromtimestamp(at, tz=UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _percent(share: float) -> str:
    """Rounded down: 100 % is said only when it was."""
    return f"{int(share * 10_000) / 100:g} %"
