"""What a post-mortem costs: `python bench/postmortems.py`.

One is written into a handbook in git: its parts, a plot of 240 points of real samples, the lesson on a branch, the
commit. A handbook with 1,000 of them is read, and the status page of as many incidents is made.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from pathlib import Path

from harness import Bench, quick

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "response"))

from postmortem_house import START, House, incident, update

from opsbook.book import TextFiles, load
from opsbook.book.postmortems import StatusPageSpec, read_postmortem
from opsbook.response.postmortems.status_files import files
from opsbook.response.postmortems.status_page import DAY, status_page


def main() -> int:
    bench = Bench("postmortems")
    many = 100 if quick(__doc__ or "") else 1000
    with tempfile.TemporaryDirectory(prefix="opsbook-bench-") as folder:
        house = House(Path(folder))
        house.measure()
        house.desk.put(incident())
        began = time.perf_counter()
        (record,) = house.room.look()
        bench.figure(
            "written: impact, plot, lesson, commit", (time.perf_counter() - began) * 1000, "ms", 1000.0
        )
        text = house.read(record.path)
        house.desk.put(incident(reopened=1))
        began = time.perf_counter()
        house.room.look()
        bench.figure("written again", (time.perf_counter() - began) * 1000, "ms", 1000.0)
        began = time.perf_counter()
        subprocess.run(("git", "--version"), check=True, capture_output=True)
        bench.fact("one process of git takes", (time.perf_counter() - began) * 1000, "ms")
        house.close()
    pages = {f"incidents/2026-01-01-{number}.md": f"{text}\n- [ ] {number}\n" for number in range(many)}
    book = TextFiles.of({"opsbook.yaml": "name: shop\n", **pages})
    read_postmortem.cache_clear()
    began = time.perf_counter()
    load(book)
    bench.figure(f"a handbook of {many} read", time.perf_counter() - began, "s", 5.0)
    began = time.perf_counter()
    load(book)
    bench.figure("read again, unchanged", time.perf_counter() - began, "s", 2.0)
    incidents = [
        incident(
            id=f"inc-{number}",
            started_at=START - number * 3600.0,
            resolved_at=START - number * 3600.0 + 900,
            updates=(update("x"),),
        )
        for number in range(many)
    ]
    began = time.perf_counter()
    files(status_page(incidents, StatusPageSpec(services={"web": "Web"}), "shop", START + DAY))
    bench.figure(f"the status page of {many} incidents", (time.perf_counter() - began) * 1000, "ms", 2000.0)
    return bench.end()


if __name__ == "__main__":
    sys.exit(main())
