"""``opsbook``: the tree of commands, and the one place where errors become exit codes."""

from __future__ import annotations

import os
import sys
from typing import Any, NoReturn

import click

import opsbook
from opsbook.cli.lazy import LazyGroup
from opsbook.cli.session import CommandSession
from opsbook.errors import Invalid, OpsbookError
from opsbook.terminal import Terminal

INTERRUPTED = 130
BROKEN_PIPE = 141  # what a shell reports for a process ended by SIGPIPE

COMMANDS = {
    "init": "opsbook.cli.init:init",
    "check": "opsbook.cli.check:check",
    "schema": "opsbook.cli.schema:schema",
    "up": "opsbook.server.cli:up",
    "down": "opsbook.server.cli:down",
    "status": "opsbook.deployment.cli.status:status",
    "plan": "opsbook.deployment.cli.plan:plan",
    "deploy": "opsbook.deployment.cli.deploy:deploy",
    "promote": "opsbook.deployment.cli.gates:promote",
    "approve": "opsbook.deployment.cli.gates:approve",
    "checklist": "opsbook.deployment.cli.checklist:checklist",
    "rollback": "opsbook.deployment.cli.change:rollback",
    "abort": "opsbook.deployment.cli.change:abort",
    "deployments": "opsbook.deployment.cli.deployments:deployments",
    "scale": "opsbook.deployment.cli.change:scale",
    "restart": "opsbook.deployment.cli.change:restart",
    "lock": "opsbook.deployment.cli.lock:lock",
    "hold": "opsbook.deployment.cli.hold:hold",
    "freeze": "opsbook.deployment.cli.freeze:freeze",
    "alerts": "opsbook.monitoring.rules.cli:alerts",
    "silence": "opsbook.monitoring.alerting.cli:silence",
    "slo": "opsbook.monitoring.slos.cli:slo",
    "probes": "opsbook.monitoring.probes.cli:probes",
    "targets": "opsbook.monitoring.targets.cli:targets",
    "channels": "opsbook.monitoring.notifications.cli:channels",
    "dashboards": "opsbook.monitoring.dashboards.cli:dashboards",
    "top": "opsbook.monitoring.dashboards.top_cli:top",
    "logs": "opsbook.monitoring.logs.cli:logs",
    "traces": "opsbook.monitoring.traces.cli:traces",
    "diagnose": "opsbook.response.diagnosis.cli:diagnose",
    "oncall": "opsbook.response.oncall.cli:oncall",
    "ack": "opsbook.response.escalation.cli:ack",
    "escalations": "opsbook.response.escalation.cli:escalations",
    "incidents": "opsbook.response.incidents.cli.changes:incidents",
    "note": "opsbook.response.incidents.cli.changes:note",
    "resolve": "opsbook.response.incidents.cli.changes:resolve",
    "runbooks": "opsbook.response.runbooks.cli.runbooks:runbooks",
    "run": "opsbook.response.runbooks.cli.run:run",
    "runs": "opsbook.response.runbooks.cli.runs:runs",
    "postmortem": "opsbook.response.postmortems.cli:postmortem",
    "status-page": "opsbook.response.postmortems.cli:status_page",
    "monitoring": "opsbook.monitoring.rules.cli:monitoring",
    "query": "opsbook.monitoring.query_cli:query",
    "journal": "opsbook.cli.journal:journal",
    "diff": "opsbook.cli.diff:diff",
    "secrets": "opsbook.cli.secrets:secrets",
    "whoami": "opsbook.security.cli:whoami",
    "tokens": "opsbook.security.cli:tokens",
    "login-link": "opsbook.security.cli:login_link",
    "doctor": "opsbook.cli.doctor:doctor",
    "demo": "opsbook.cli.demo:demo",
    "completion": "opsbook.cli.completion:completion",
}


class _Root(LazyGroup):
    def make_context(self, *args: Any, **kwargs: Any) -> click.Context:
        """With the session, which completing a word needs as much as running a command."""
        context = super().make_context(*args, **kwargs)
        given = {name: context.params[name] or "" for name in ("book", "server", "token")}
        context.obj = CommandSession(**given)
        return context


@click.group(
    cls=_Root,
    lazy=COMMANDS,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.option(
    "--book",
    metavar="DIR",
    default="",
    envvar="OPSBOOK_BOOK",
    help="The handbook (default: ./ops, or above).",
)
@click.option(
    "--server",
    metavar="URL",
    default="",
    envvar="OPSBOOK_SERVER",
    help="A server elsewhere; needs a token.",
)
@click.option(
    "--token",
    metavar="TOKEN",
    default="",
    envvar="OPSBOOK_TOKEN",
    help="Your own, from `opsbook tokens create`; better in $OPSBOOK_TOKEN, where other users do not see it.",
)
@click.version_option(opsbook.__version__, prog_name="opsbook", message="%(prog)s %(version)s")
def cli(book: str, server: str, token: str) -> None:
    """An operations handbook that runs.

    \b
    Examples:
      opsbook init shop && cd shop     make a handbook with a service that runs
      opsbook up --detach              start opsbook
      opsbook deploy hello --to local  deploy, and wait until it serves
      opsbook status                   what runs, worst first
    """
    del book, server, token  # `_Root` has them: a session is needed before this is called


def main() -> NoReturn:
    """Run the command line and exit: 0 done, 1 failed, 2 usage or handbook, 3 rolled back, 4 not allowed,
    5 locked, 6 needs approval, 130 interrupted."""
    sys.exit(run(sys.argv[1:]))


def run(arguments: list[str]) -> int:
    """The exit code of ``opsbook ARGUMENTS``; everything there is to say has been printed."""
    try:
        result = cli.main(arguments, prog_name="opsbook", standalone_mode=False)
        return result if isinstance(result, int) else 0
    except (OpsbookError, click.ClickException) as error:
        shown = error if isinstance(error, OpsbookError) else _translated(error)
        Terminal().error(shown)
        return shown.exit_code
    except click.exceptions.Exit as end:
        return end.exit_code
    except (click.Abort, KeyboardInterrupt):
        Terminal().message("", "interrupted")
        return INTERRUPTED
    except BrokenPipeError:
        # Whoever read the output has had enough. Python would complain once more when it flushes at the end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return BROKEN_PIPE


def _translated(error: click.ClickException) -> OpsbookError:
    """What click says, in the words and with the hint of every other error."""
    message = error.format_message().rstrip(".")
    if not isinstance(error, click.UsageError):
        return OpsbookError(message)
    return Invalid(
        message[:1].lower() + message[1:], hint=f"{error.ctx.command_path if error.ctx else 'opsbook'} --help"
    )
