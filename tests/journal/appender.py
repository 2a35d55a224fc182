"""A process that appends to a journal until it is killed or done; prints each id once it is safe.

Arguments: the database, the keys folder, how many, a name.
"""

import sys
import time
from pathlib import Path

from opsbook.journal import Journal, register

register("test.happened", "Something happened in a test", {"n": "which one"})


class WallClock:
    def now(self) -> float:
        return time.time()


database, keys, count, name = sys.argv[1:]
with Journal.open(database, keys=Path(keys), clock=WallClock(), busy_timeout=30) as journal:
    print("open", flush=True)
    for n in range(int(count)):
        print(journal.append("test.happened", name, {"n": n}, actor=name, put={name: n}).id, flush=True)
