"""The part of opsbook that tells people, as a process of its own: rules, alerting, outbox. To be killed.

Run as ``python storm.py FOLDER``. What is wrong stands in FOLDER/truth.json, a list of instances; whoever writes it
replaces it as a whole.
"""

from __future__ import annotations

import contextlib
import json
import sys
import time
from pathlib import Path

from opsbook.book import TextFiles, load
from opsbook.journal import Journal
from opsbook.monitoring.alerting.room import Alerting
from opsbook.monitoring.rules.model import AlertingRule, RuleGroup
from opsbook.monitoring.rules.room import Rules
from opsbook.promql import Engine
from opsbook.world.hosts.clock import SystemClock
from opsbook.world.hosts.tokens import new_token
from opsbook.world.telemetry.storage import Storage
from opsbook.world.telemetry.store import HotStore

INSTANCES = 30


class NoSecrets:
    def get(self, name: str) -> str:
        return name

    def mask(self, text: str) -> str:
        return text


def main(folder: Path) -> None:
    """Until it is killed."""
    book = load(
        TextFiles(
            {path: (folder / path).read_bytes() for path in ("opsbook.yaml", "monitoring/notifications.yaml")}
        )
    )
    clock = SystemClock()
    journal = Journal.open(folder / "journal.sqlite", keys=folder / "keys", clock=clock)
    alerting = Alerting(lambda: book, journal, NoSecrets(), clock, new_id=new_token, log=print)
    storage = Storage(HotStore())
    rules = Rules(Engine(storage), storage, journal, alerting, moment=time.time, log=print)
    rule = AlertingRule(alert="Wrong", expr="wrong == 1", labels={"severity": "critical"})
    alerting.start()
    rules.load([RuleGroup(name="storm", source="storm", rules=(rule,))])
    writer = storage.writer({"storm": "storm"})
    (folder / "started").touch()
    last = 0
    while True:
        at = max(int(time.time() * 1000), last + 1)
        last = at
        with contextlib.suppress(FileNotFoundError):
            wrong = set(json.loads((folder / "truth.json").read_text()))
            samples = [
                ({"__name__": "wrong", "instance": str(number)}, float(number in wrong))
                for number in range(INSTANCES)
            ]
            writer.write(at, samples)
            rules.evaluate(at)
        time.sleep(0.02)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
