"""The tour from beginning to end: the acts in their order, the summary, the tidying up."""

from __future__ import annotations

import argparse
import contextlib
import sys
from collections.abc import Sequence

from opsbook.demo.acts import ACTS
from opsbook.demo.narration import Narrator
from opsbook.demo.play import Play
from opsbook.demo.stage import Stage
from opsbook.demo.summary import summary
from opsbook.errors import OpsbookError

_INTERRUPTED = 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Give the tour.

    Returns:
        0 when everything was as promised, 1 when not, 130 when interrupted.
    """
    options = _parse(arguments)
    narrator = Narrator()
    stage = Stage(git=True)
    play = Play(stage, narrator, rate=options.rate, connections=options.connections)
    narrator.line("opsbook deploys a small shop, well and badly, while customers send requests all the time.")
    narrator.line(f"Everything happens in {stage.folder} and on loopback ports; it takes about two minutes.")
    interrupted = False
    try:
        for act in ACTS:
            act(play)
    except OpsbookError as error:
        play.broke("the tour goes on to its end", f"{error}{f' (hint: {error.hint})' if error.hint else ''}")
    except KeyboardInterrupt:
        narrator.line("\ninterrupted; tidying up")
        interrupted = True
    try:
        figures = play.close_shop()
        if figures and not interrupted:
            if figures["failed"]:
                first = figures["failures"][0]
                play.broke(
                    "no request fails", f"{figures['failed']} did, first a {first['kind']}: {first['cause']}"
                )
            for line in summary(play, figures):
                narrator.line(line)
    except OpsbookError as error:
        play.broke("the customers' figures can be read", str(error))
    play.hang_up()
    _leave(play, keep=options.keep and not interrupted)
    if interrupted:
        return _INTERRUPTED
    return 1 if play.broken else 0


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="opsbook demo", description="A tour of about two minutes, on this machine."
    )
    parser.add_argument("--keep", action="store_true", help="leave everything running at the end")
    parser.add_argument("--rate", type=float, default=200.0, help="pages a second (default 200)")
    parser.add_argument("--connections", type=int, default=50, help="kept connections (default 50)")
    return parser.parse_args(list(arguments) if arguments is not None else sys.argv[1:])


def _leave(play: Play, *, keep: bool) -> None:
    """End everything and remove it, or say how to look at it and how to end it."""
    stage, narrator = play.stage, play.narrator
    if keep:
        narrator.line("")
        narrator.line(f"It is still running. The shop: {stage.url}/")
        narrator.line(f"Look:  cd {stage.folder} && opsbook status")
        narrator.line(f"Stop:  cd {stage.folder} && opsbook down --services && cd / && rm -rf {stage.folder}")
        return
    if play.started:
        ended = play.commands.run("down", "--services")
        if ended.code:
            play.broke(
                "opsbook ends its services", f"exit code {ended.code}; its files stay in {stage.folder}"
            )
            return
    if play.broken:
        narrator.line(f"The files are left for a look: {stage.folder}")
        return
    with contextlib.suppress(OSError):  # a file that appears while we remove is no reason to fail
        stage.remove()
