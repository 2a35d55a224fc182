"""Completion of names, from the file names of the handbook: never from the network."""

from __future__ import annotations

import click

from opsbook.errors import OpsbookError
from opsbook.terminal.session import Session


def complete_environment(ctx: click.Context, parameter: click.Parameter, incomplete: str) -> list[str]:
    del parameter
    return _stems(ctx, "environments", incomplete)


def complete_service(ctx: click.Context, parameter: click.Parameter, incomplete: str) -> list[str]:
    del parameter
    return _stems(ctx, "services", incomplete)


def _stems(ctx: click.Context, folder: str, incomplete: str) -> list[str]:
    session: Session = ctx.obj
    try:
        found = (session.book / folder).glob("*.yaml")
        return sorted(path.stem for path in found if path.stem.startswith(incomplete))
    except (OpsbookError, OSError):
        return []  # nothing to offer is no reason to disturb somebody who is typing
