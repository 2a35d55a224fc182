"""Commands whose help begins with examples, and groups that say what was probably meant."""

from __future__ import annotations

import difflib
import inspect
from typing import Any

import click


def help_parts(text: str) -> tuple[str, list[str], str]:
    """A command's docstring as summary, example lines, and the rest.

    The examples are the block after a line that holds a backspace only, click's mark for text left as it is.
    """
    before, _, after = inspect.cleandoc(text).partition("\b\n")
    summary, _, more = before.strip().partition("\n\n")
    block, _, rest = after.partition("\n\n")
    examples = [line.removeprefix("  ") for line in block.splitlines() if line.strip() != "Examples:"]
    return summary, examples, "\n\n".join(part for part in (more.strip(), rest.strip()) if part)


def _write_head(command: click.Command, ctx: click.Context, formatter: click.HelpFormatter) -> None:
    summary, examples, rest = help_parts(command.help or "")
    if summary:
        formatter.write_text(summary)
        formatter.write_paragraph()
    if examples:
        formatter.write("Examples:\n" + "".join(f"  {line}\n" for line in examples) + "\n")
    command.format_usage(ctx, formatter)
    if rest:
        formatter.write_paragraph()
        with formatter.indentation():
            formatter.write_text(rest)


class Command(click.Command):
    """A command."""

    def format_help(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        _write_head(self, ctx, formatter)
        self.format_options(ctx, formatter)


class Group(click.Group):
    """A command with commands below it.

    Args:
        bare: the one of them that is meant where none is named; its options may then stand behind the group's name.
    """

    command_class = Command

    def __init__(self, *args: Any, bare: str = "", **kwargs: Any) -> None:
        kwargs.setdefault("invoke_without_command", bool(bare))
        super().__init__(*args, **kwargs)
        self.bare = bare

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        own = {name for option in self.get_params(ctx) for name in option.opts}
        # A word that is being completed is the name of a command.
        if (
            self.bare
            and not ctx.resilient_parsing
            and (not args or (args[0][:1] == "-" and args[0] not in own))
        ):
            args = [self.bare, *args]
        return super().parse_args(ctx, args)

    def format_help(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        _write_head(self, ctx, formatter)
        if self.bare:
            formatter.write_paragraph()
            with formatter.indentation():
                formatter.write_text(f"Without COMMAND it is {self.bare}, whose options may stand here too.")
        self.format_options(ctx, formatter)  # which lists the commands too

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if not args[0].startswith("-") and args[0] not in self.list_commands(ctx):
            close = difflib.get_close_matches(args[0], self.list_commands(ctx), n=1)
            meant = f"; did you mean `{ctx.command_path} {close[0]}`?" if close else ""
            raise click.UsageError(f"there is no command {args[0]!r}{meant}", ctx)
        return super().resolve_command(ctx, args)
