"""``opsbook doctor``."""

from __future__ import annotations

import click

from opsbook.terminal import Session, count, table
from opsbook.terminal.commands import Command


@click.command(cls=Command)
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
@click.pass_obj
def doctor(session: Session, *, as_json: bool) -> int:
    """Examine this machine and this handbook; each finding comes with one fix.

    \b
    Examples:
      opsbook doctor
      opsbook doctor --json

    Exit codes: 0 nothing stands in the way, 1 something does.
    """
    from opsbook.cli.findings import findings

    found = list(findings(session))
    failed = sum(finding.state == "failed" for finding in found)
    terminal = session.terminal
    if as_json:
        terminal.json({"ok": not failed, "findings": [finding.to_json() for finding in found]})
        return min(failed, 1)
    style = terminal.style
    rank = {"failed": 0, "warning": 1, "ok": 2}
    ordered = sorted(found, key=lambda finding: rank[finding.state])
    heads = table([(style.state(finding.state), finding.check, finding.detail) for finding in ordered])
    for head, finding in zip(heads, ordered, strict=True):
        terminal.data(head, *([f"    {style.paint('fix:', 'cyan')} {finding.fix}"] if finding.fix else []))
    warnings = sum(finding.state == "warning" for finding in found)
    state = "failed" if failed else "warning" if warnings else "ok"
    terminal.message(
        "", f"{terminal.message_style.symbol(state)} {count(failed, 'failure')}, {count(warnings, 'warning')}"
    )
    return min(failed, 1)
