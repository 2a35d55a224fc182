"""Ways in which a version of the storefront can be bad, so that one can see what opsbook makes of it.

The fault's name stands in the environment variable SHOP_FAULT or in a file `fault.txt` beside this one:

    no-start       exits at once, before it listens
    never-healthy  runs and listens, but its health check always fails
    crash          is healthy at first, and exits two seconds after its start
    gift           is healthy, until somebody orders a gift card: the order is answered, then the process dies
    slow           takes a second for every page
    errors         answers every fifth page with 500
    late           answers well for eight seconds, and then every fifth page with 500
    stubborn       ignores the request to stop
"""

from __future__ import annotations

import os
from pathlib import Path

NAMES = frozenset({"no-start", "never-healthy", "crash", "gift", "slow", "errors", "late", "stubborn"})


def fault() -> str:
    """The fault this process has; empty for none.

    Raises:
        SystemExit: the name is not one of the above.
    """
    file = Path(__file__).with_name("fault.txt")
    name = os.environ.get("SHOP_FAULT") or (file.read_text().strip() if file.exists() else "")
    if name and name not in NAMES:
        raise SystemExit(f"unknown fault {name!r}; one of {', '.join(sorted(NAMES))}")
    return name
