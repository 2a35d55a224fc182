"""A group of commands of which only the one that is called gets imported."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import Any

import click

from opsbook.terminal.commands import Group


class LazyGroup(Group):
    """Commands by where they are defined.

    Args:
        lazy: name to ``module:attribute``, in the order in which help shows them.
    """

    def __init__(self, *args: Any, lazy: Mapping[str, str], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._lazy = lazy

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self._lazy)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in self._lazy:
            return None
        module, _, attribute = self._lazy[cmd_name].partition(":")
        command = getattr(importlib.import_module(module), attribute)
        assert isinstance(command, click.Command)
        return command
