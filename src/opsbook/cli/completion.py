"""``opsbook completion``: the script that lets a shell complete commands, options and names."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

from opsbook.terminal import Session
from opsbook.terminal.commands import Command

COMPLETE_VARIABLE = "_OPSBOOK_COMPLETE"


@click.command(cls=Command)
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def completion(ctx: click.Context, shell: str) -> None:
    """Print the completion script of a shell. Names come from the handbook's files, never from the network.

    \b
    Examples:
      opsbook completion bash >> ~/.bashrc
      opsbook completion zsh > ~/.zfunc/_opsbook
      opsbook completion fish > ~/.config/fish/completions/opsbook.fish
    """
    kind = get_completion_class(shell)
    assert kind is not None  # click has all three
    session: Session = ctx.obj
    script = kind(ctx.find_root().command, {}, "opsbook", COMPLETE_VARIABLE).source()
    session.terminal.data(script.rstrip("\n"))
