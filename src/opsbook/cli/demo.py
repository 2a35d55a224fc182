"""``opsbook demo``: hands over to the tour."""

from __future__ import annotations

import click

from opsbook.terminal.commands import Command


@click.command(
    cls=Command,
    context_settings={"ignore_unknown_options": True, "allow_extra_args": True, "help_option_names": []},
    add_help_option=False,
)
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED, metavar="[OPTIONS]")
def demo(arguments: tuple[str, ...]) -> int:
    """Show opsbook at work on a shop of four services, in a temporary folder, under load.

    \b
    Examples:
      opsbook demo
      opsbook demo --help
    """
    from opsbook.demo import main

    return int(main(list(arguments)))
