"""The text of a post-mortem: a new page whole, a page that is there in its own parts only. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import cache
from typing import TYPE_CHECKING, Any

from opsbook.book.scalars import quoted
from opsbook.response.incidents.model import Incident
from opsbook.response.postmortems.markdown import Markdown, escaped, finalized, one_line
from opsbook.response.postmortems.parts import marked

if TYPE_CHECKING:
    from jinja2 import Environment

PARTS = ("summary", "impact", "timeline", "detection", "trigger", "resolution", "runbooks", "actions")


def parts(facts: Mapping[str, Any]) -> dict[str, str]:
    """The contents of all parts, by name."""
    template = _templates().get_template("parts.md")
    return {name: _tidy("".join(template.blocks[name](template.new_context(dict(facts))))) for name in PARTS}


def page(incident: Incident, contents: Mapping[str, str]) -> str:
    """A new page, with prompts for what only people know."""
    resolved = incident.resolved_at if incident.resolved_at is not None else incident.mitigated_at
    front = {
        "title": _quoted(incident.title or incident.id),
        "incident": Markdown(incident.id),
        "severity": Markdown(incident.severity),
        "environment": _quoted(incident.environment),
        "services": Markdown(f"[{', '.join(_quoted(name) for name in incident.services if one_line(name))}]"),
        "started": _moment(incident.started_at),
        "resolved": Markdown('""') if resolved is None else _moment(resolved),
    }
    text = (
        _templates()
        .get_template("postmortem.md")
        .render(
            front=front,
            heading=Markdown(escaped(incident.title or incident.id)),
            parts={name: Markdown(marked(name, content)) for name, content in contents.items()},
        )
    )
    return text.rstrip("\n") + "\n"


def path_of(incident: Incident, taken: str = "") -> str:
    """``incidents/2026-11-21-orders-fail.md``: the day on which the impact began, UTC.

    Args:
        taken: what is added when another incident has that name already.
    """
    slug = re.sub(r"[^a-z0-9]+", "-", (incident.slug or incident.title).lower()).strip("-")[:60].strip("-")
    name = "-".join(part for part in (slug or incident.id, taken) if part)
    return f"incidents/{day_of(incident)}-{name}.md"


def day_of(incident: Incident) -> str:
    return datetime.fromtimestamp(incident.started_at, tz=UTC).strftime("%Y-%m-%d")


@cache
def _templates() -> Environment:
    from jinja2 import Environment, PackageLoader, StrictUndefined

    return Environment(
        loader=PackageLoader("opsbook.response.postmortems", "templates"),
        autoescape=False,  # noqa: S701 - this is Markdown: `finalized` escapes every value for that
        finalize=finalized,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def _tidy(text: str) -> str:
    return re.sub(r"\n{3,}", "\n\n", text).strip("\n")


def _quoted(text: str) -> Markdown:
    return Markdown(quoted(one_line(text, 200)))


def _moment(at: float) -> Markdown:
    return Markdown(quoted(datetime.fromtimestamp(at, tz=UTC).strftime("%Y-%m-%dT%H:%M:%SZ")))
