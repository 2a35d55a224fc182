"""How opsbook speaks at a terminal: words, symbols, tables, moving regions; and what every command is handed.

It knows no room and no server. A capability's commands are written against it and are given the API by
`opsbook.cli`, so they work the same on this machine and from afar.
"""

from opsbook.terminal.plot import Point, Words, plot
from opsbook.terminal.quantities import age, clock, clock_time, count, duration, parse_duration, share
from opsbook.terminal.region import Region
from opsbook.terminal.session import Api, Session
from opsbook.terminal.style import SYMBOLS, Style
from opsbook.terminal.table import cut, table, width
from opsbook.terminal.terminal import Terminal

__all__ = [
    "SYMBOLS",
    "Api",
    "Point",
    "Region",
    "Session",
    "Style",
    "Terminal",
    "Words",
    "age",
    "clock",
    "clock_time",
    "count",
    "cut",
    "duration",
    "parse_duration",
    "plot",
    "share",
    "table",
    "width",
]
