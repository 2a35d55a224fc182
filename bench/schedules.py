"""How long it takes to know who is on call: `python bench/schedules.py`.

Ten years of a schedule with three layers (a turn each week, each day, and each day within office hours) in a zone
whose clocks are set twice a year, with 200 overrides.
"""

from __future__ import annotations

import sys
import time
from datetime import UTC, datetime

from harness import Bench, quick

from opsbook.book.oncall import LayerSpec, ScheduleSpec
from opsbook.response.oncall.model import Override
from opsbook.response.oncall.plan import on_call, shifts

DAY = 86_400.0
START = datetime(2026, 1, 5, 9, tzinfo=UTC).timestamp()


def layer(name: str, every: str, **more: object) -> LayerSpec:
    document = {
        "name": name,
        "people": ("ana", "ben", "cem", "dea"),
        "every": every,
        "from": "2026-01-05T09:00",
    }
    return LayerSpec.model_validate({**document, **more})


def main() -> int:
    bench = Bench("schedules")
    years = 1 if quick(__doc__ or "") else 10
    office = ({"days": ("mon", "tue", "wed", "thu", "fri"), "from": "09:00", "until": "17:00"},)
    layers = (layer("weekly", "week"), layer("daily", "day"), layer("office", "day", only=office))
    schedule = ScheduleSpec(name="on-call", timezone="Europe/Berlin", layers=layers)
    overrides = [
        Override(
            f"o{number:05d}", "on-call", "eva", START + number * 17 * DAY, START + (number * 17 + 1) * DAY
        )
        for number in range(200)
    ]
    began = time.perf_counter()
    found = shifts(schedule, START, START + years * 365.25 * DAY, overrides)
    took = time.perf_counter() - began
    bench.fact("shifts", len(found), "")
    bench.figure(f"{years} years of three layers resolved", took, "s", 1.0)
    began = time.perf_counter()
    for number in range(100):
        on_call(schedule, START + number * 3.7 * DAY, overrides)
    bench.figure("who is on call now", (time.perf_counter() - began) * 10, "ms", 20.0)
    return bench.end()


if __name__ == "__main__":
    sys.exit(main())
