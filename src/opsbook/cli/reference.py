"""The reference page of the command line, generated from the commands themselves."""

from __future__ import annotations

import inspect
from collections.abc import Iterator

import click

from opsbook.errors import KINDS
from opsbook.terminal.commands import help_parts


def reference(root: click.Group, name: str = "opsbook") -> str:
    """``docs/reference/cli.md``: every command with its examples, arguments and options."""
    lines = [
        "# The command line",
        "",
        "Generated from the commands; `opsbook COMMAND --help` says the same. stdout is data, stderr is messages.",
        "",
        *_usage(root, name),
        "## Exit codes",
        "",
        *_exit_codes(),
        "",
    ]
    for path, command in _walk(root, name):
        lines += [f"## {path}", "", *_usage(command, path)]
    return "\n".join(lines).rstrip("\n") + "\n"


def _exit_codes() -> list[str]:
    kinds = sorted(KINDS.values(), key=lambda kind: (kind.exit_code, kind.kind))
    rows = [f"| {kind.exit_code} | {kind.kind.replace('_', ' ')} | {_first_line(kind)} |" for kind in kinds]
    return [
        "| code | kind | when |",
        "|---|---|---|",
        "| 0 | done | What was asked for has happened. |",
        *rows,
        "| 130 | interrupted | Ctrl-C; a deployment under way goes on. |",
    ]


def _first_line(kind: type) -> str:
    return (inspect.getdoc(kind) or "").splitlines()[0]


def _walk(group: click.Group, path: str) -> Iterator[tuple[str, click.Command]]:
    context = click.Context(group, info_name=path)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        if command is not None and not command.hidden:
            yield f"{path} {name}", command
            if isinstance(command, click.Group):
                yield from _walk(command, f"{path} {name}")


def _usage(command: click.Command, path: str) -> list[str]:
    context = click.Context(command, info_name=path)
    text, examples, after = help_parts(command.help or "")
    lines = [text, "", "```", f"{path} {' '.join(command.collect_usage_pieces(context))}".rstrip(), "```", ""]
    if examples:
        lines += ["Examples:", "", "```", *examples, "```", ""]
    given = [parameter for parameter in command.params if isinstance(parameter, click.Option)]
    options = [row for option in given if (row := option.get_help_record(context)) is not None]
    if options:
        lines += ["| option | |", "|---|---|"]
        lines += [f"| `{_cell(name)}` | {_cell(said)} |" for name, said in options]
        lines.append("")
    return [*lines, *([after, ""] if after else [])]


def _cell(text: str) -> str:
    """Text in a Markdown table, where a bar would end the cell, even in code."""
    return text.replace("|", "\\|")


if __name__ == "__main__":
    import sys

    from opsbook.cli.main import cli

    sys.stdout.write(reference(cli))
