"""``opsbook alerts`` and ``opsbook monitoring``: what fires, and rules as files and under test."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from opsbook.errors import Failed
from opsbook.terminal import Session, Style, age, count, duration, table
from opsbook.terminal.commands import Command, Group

STATES = {"critical": "failed", "warning": "warning", "info": "running"}


@click.command(cls=Command)
@click.option("--all", "everything", is_flag=True, help="Those that do not fire yet, too.")
@click.option("--json", "as_json", is_flag=True, help="Everything known of them, as JSON.")
@click.pass_obj
def alerts(session: Session, *, everything: bool, as_json: bool) -> int:
    """Show what fires, worst first, and why.

    \b
    Examples:
      opsbook alerts
      opsbook alerts --all      with what is pending
      opsbook alerts --json

    Exit codes: 0 nothing critical or warning fires unsilenced, 1 something does.
    """
    found = session.api.get("/api/monitoring/alerts", {"pending": everything or None})["alerts"]
    terminal = session.terminal
    loud = [alert for alert in found if _is_loud(alert)]
    if as_json:
        terminal.json({"alerts": found})
        return 1 if loud else 0
    now = time.time()
    terminal.data(*table([_row(alert, now, terminal.style) for alert in found]))
    terminal.message(_summary(found, loud, terminal.message_style))
    return 1 if loud else 0


def _is_loud(alert: dict[str, Any]) -> bool:
    quiet = alert["silenced_by"] or alert["inhibited_by"]
    return alert["state"] == "firing" and alert["severity"] in ("critical", "warning") and not quiet


def _row(alert: dict[str, Any], now: float, style: Style) -> list[str]:
    word = alert["severity"] or "firing"
    state = "waiting" if alert["state"] == "pending" else STATES.get(word, "warning")
    if alert["state"] == "pending":
        word = f"pending {duration(alert['fires_at'] - now)}" if alert["fires_at"] > now else "pending"
    elif alert["silenced_by"]:
        state, word = "paused", "silenced"
    elif alert["inhibited_by"]:
        state, word = "paused", "inhibited"
    about = " ".join(
        alert["labels"][label]
        for label in ("environment", "service", "instance", "host")
        if alert["labels"].get(label)
    )
    since = alert["fired_at"] if alert["fired_at"] is not None else alert["since"]
    said = alert["annotations"].get("summary", "")
    reason = f"{alert['expression']} gives {_value(alert['value'])}"
    if alert["missing_since"] is not None:
        reason += f"; no data for {age(alert['missing_since'], now)}"
    return [
        style.state(state, word),
        style.paint(alert["name"], "bold"),
        about or "-",
        age(since, now),
        f"{said} {style.paint(f'({reason})', 'dim')}" if said else reason,
    ]


def _value(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float | int) else str(value)


def _summary(found: Sequence[dict[str, Any]], loud: Sequence[dict[str, Any]], style: Style) -> str:
    firing = [alert for alert in found if alert["state"] == "firing"]
    if not firing:
        pending = f" · {len(found)} pending" if found else ""
        return f"{style.state('ok')} · nothing fires{pending}"
    runbook = next((alert["runbook"] for alert in loud if alert["runbook"]), "")
    what = style.state(
        "failed" if any(alert["severity"] == "critical" for alert in loud) else "warning", "firing"
    )
    silent = len(firing) - len(loud)
    parts = [f"{what} · {count(len(firing), 'alert')}", *([f"{silent} quiet"] if silent else [])]
    return " · ".join([*parts, *([f"begin with {runbook}"] if runbook else [])])


@click.group(cls=Group)
def monitoring() -> None:
    """Rules: under test, as files for Prometheus, and how they go.

    \b
    Examples:
      opsbook monitoring test tests/*.yaml
      opsbook monitoring export rules/
      opsbook monitoring rules
    """


@monitoring.command(cls=Command)
@click.argument(
    "files", nargs=-1, required=True, type=click.Path(exists=True, dir_okay=False, path_type=Path)
)
@click.option("--json", "as_json", is_flag=True, help="Every failure, as JSON.")
@click.pass_obj
def test(session: Session, *, files: Sequence[Path], as_json: bool) -> int:
    """Run unit tests of rules, in the format of promtool.

    \b
    Examples:
      opsbook monitoring test ops/monitoring/tests/web.yaml

    Files named by rule_files may be Prometheus rule files or alerts.yaml in the short form. Nothing is asked of a
    server: series lie in memory and the clock is simulated.

    Exit codes: 0 all passed, 1 something did not, 2 a file has errors.
    """
    from opsbook.monitoring.rules.trial import read_trials
    from opsbook.monitoring.rules.trying import run

    terminal, failed, told = session.terminal, False, []
    for file in files:
        report = run(read_trials(str(file), _content(file)), _reader(file.parent))
        failed = failed or bool(report.failures)
        told.append(report)
        if as_json:
            continue
        style = terminal.style
        state = style.state("failed") if report.failures else style.state("ok")
        terminal.data(f"{state} {file} · {count(report.checks, 'check')}")
        for failure in report.failures:
            terminal.data(f"  {file}:{failure.line}: {failure.test}: {failure.what}")
            if failure.expected or failure.got:
                terminal.data(
                    *_listed("expected", failure.expected, style), *_listed("got", failure.got, style)
                )
    if as_json:
        from dataclasses import asdict

        terminal.json({"ok": not failed, "files": [asdict(report) for report in told]})
    return 1 if failed else 0


def _listed(word: str, lines: Sequence[str], style: Style) -> list[str]:
    return [f"    {style.paint(word, 'cyan')}: {line}" for line in lines or ("nothing",)]


def _content(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError as error:
        raise Failed(f"the file cannot be read: {error.strerror}", where=str(file)) from error


def _reader(folder: Path) -> Any:
    import glob

    def read(pattern: str) -> list[tuple[str, bytes]]:
        found = sorted(glob.glob(str(folder / pattern)))  # noqa: PTH207 - absolute patterns are patterns too
        return [(name, _content(Path(name))) for name in found]

    return read


@monitoring.command(cls=Command)
@click.argument("folder", type=click.Path(file_okay=False, path_type=Path))
@click.option("--interval", default="15s", show_default=True, metavar="15s", help="Of groups that name none.")
@click.pass_obj
def export(session: Session, *, folder: Path, interval: str) -> None:
    """Write every rule as a Prometheus rule file: the named metrics, the defaults, SLOs, and the handbook's own.

    \b
    Examples:
      opsbook monitoring export rules/ && promtool check rules rules/*.yaml
    """
    from opsbook.monitoring.generating import generated_groups
    from opsbook.monitoring.rules.exporting import exported

    book = _book(session)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, text in exported(book, generated_groups(book), interval=interval).items():
            (folder / name).write_text(text, encoding="utf-8")
            session.terminal.data(str(folder / name))
    except OSError as error:
        raise Failed(f"cannot be written: {error.strerror}", where=str(folder)) from error


def _book(session: Session) -> Any:
    from opsbook.book import FolderFiles, load

    return load(FolderFiles(session.book))


@monitoring.command(cls=Command)
@click.option("--json", "as_json", is_flag=True, help="In the shape of Prometheus' API.")
@click.pass_obj
def rules(session: Session, *, as_json: bool) -> int:
    """Show the rules that run and how they go; those that fail first.

    \b
    Examples:
      opsbook monitoring rules

    Exit codes: 0 all go well, 1 a rule fails.
    """
    found = session.api.get("/api/monitoring/rules")
    terminal = session.terminal
    if as_json:
        terminal.data(json.dumps(found, indent=2, ensure_ascii=False))
        return 0
    every = [(group, rule) for group in found["groups"] for rule in group["rules"]]
    every.sort(key=lambda pair: (pair[1]["health"] != "err", pair[1].get("state", "") != "firing"))
    failing = sum(rule["health"] == "err" for _, rule in every)
    rows = []
    for group, rule in every:
        state = {"err": "failed", "ok": "ok"}.get(rule["health"], "waiting")
        said = rule.get("lastError") or rule["query"]
        rows.append(
            [terminal.style.state(state, rule.get("state", rule["type"])), rule["name"], group["file"], said]
        )
    terminal.data(*table(rows))
    told = terminal.message_style
    state = told.state("failed", "failing") if failing else told.state("ok")
    terminal.message(f"{state} · {count(len(every), 'rule')} · {failing} fail")
    return 1 if failing else 0
