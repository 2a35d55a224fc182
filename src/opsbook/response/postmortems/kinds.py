"""The kinds of events of this room."""

from __future__ import annotations

from opsbook.journal import register

_PAGE = {
    "incident": "its id",
    "path": "the page, in the handbook",
    "commit": "empty without git",
}
register(
    "postmortem.written",
    "A post-mortem is in the handbook",
    {
        **_PAGE,
        "updated": "the parts that say something new",
        "kept": "those that people have changed, left as they are",
    },
)
register("postmortem.edited", "Somebody has changed a post-mortem in the console", _PAGE)
register("postmortem.finished", "A post-mortem is complete: people have said so", _PAGE)
register(
    "postmortem.failed",
    "A post-mortem could not be written; it is tried again",
    {"incident": "its id", "reason": "why"},
)
register(
    "postmortem.lesson_proposed",
    "A change to a runbook is proposed",
    {
        "incident": "its id",
        "runbook": "the page that would change",
        "place": "the branch, or the patch",
        "commit": "of the branch; empty without git",
    },
)
register(
    "status_page.published",
    "The public status page says something new",
    {
        "to": "the folder",
        "status": "ok, warning or critical",
        "open": "the incidents on it that are not over",
    },
)
