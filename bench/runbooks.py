"""What a step of a runbook costs beyond what it does: `python bench/runbooks.py [--quick]`.

The same ten `true` run by one run of a page, journaled before and after each and resumable, and by one
`ansible-playbook` on the local connection, where that is installed. Also: checking a thousand pages.
"""

from __future__ import annotations

import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from harness import Bench, quick

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "response"))

from runbook_house import House

from opsbook.book import TextFiles, load_or_problems
from opsbook.world.commands.local import LocalRunner
from opsbook.world.commands.words import Script

STEPS = 10
PAGE = "## Steps\n" + "".join(
    f"### {n}. Step {n}\n```bash run id=s{n} risk=read\ntrue\n```\n" for n in range(STEPS)
)
PLAYBOOK = (
    "- hosts: localhost\n  connection: local\n  gather_facts: false\n  tasks:\n"
    + "    - command: 'true'\n" * STEPS
)
LINT = """\
---
title: Page {n}
owner: team
reviewed: 2026-11-01
params: {{host: {{type: host}}}}
---
## Diagnose
```bash diagnose
df -h
```
## Steps
### 1. Do
```bash run id=a
echo "$HOST"
```
```bash check
true
```
```bash rollback idempotent
true
```
"""


def ours(bench: Bench, rounds: int) -> float:
    """Seconds of a step, from the start of the run to its end."""
    with tempfile.TemporaryDirectory(prefix="bench-runbooks-") as folder:
        house = House(Path(folder), {"p": PAGE})
        try:
            house.go("p")
            taken = []
            for _ in range(rounds):
                run = house.go("p")
                assert run.outcome == "succeeded"
                assert run.started_at is not None
                assert run.ended_at is not None
                taken.append((run.ended_at - run.started_at) / STEPS)
        finally:
            house.close()
    bare = []
    for _ in range(rounds * STEPS):
        began = time.perf_counter()
        LocalRunner().run(Script("bash", "true"), lambda chunk: None, lambda: False)
        bare.append(time.perf_counter() - began)
    step, shell = statistics.median(taken), statistics.median(bare)
    bench.fact("starting and ending bash alone", shell * 1000, "ms")
    bench.figure("a local step in whole", step * 1000, "ms", 10.0)
    return step


def ansible(bench: Bench, step: float) -> None:
    program = shutil.which("ansible-playbook")
    if program is None:
        bench.no_peer("ansible-playbook", "it is not installed (pip install ansible-core)")
        return
    with tempfile.TemporaryDirectory(prefix="bench-ansible-") as folder:
        playbook = Path(folder) / "play.yml"
        playbook.write_text(PLAYBOOK)
        environ = {**os.environ, "ANSIBLE_LOCALHOST_WARNING": "False", "ANSIBLE_HOME": folder}
        # The interpreter is said: what Ansible finds by itself may be a shim that runs nothing.
        command = [
            program,
            "-i",
            "localhost,",
            "-e",
            f"ansible_python_interpreter={sys.executable}",
            str(playbook),
        ]
        taken = []
        for _ in range(3):
            began = time.perf_counter()
            done = subprocess.run(command, env=environ, check=False, capture_output=True, text=True)
            if done.returncode:
                bench.no_peer(
                    "ansible-playbook", f"it ended with {done.returncode}: {done.stdout.strip()[-200:]}"
                )
                return
            taken.append((time.perf_counter() - began) / STEPS)
    theirs = statistics.median(taken)
    bench.ratio("a local step", step * 1000, theirs * 1000, "ansible-playbook", "ms")
    bench.figure("times less than ansible-playbook", theirs / step, "times", 20.0, at="least")


def lint(bench: Bench, pages: int) -> None:
    cover = "name: shop\nowner: team\ncontacts: {team: {email: team@example.com}}\n"
    texts = {f"runbooks/page-{n}.md": LINT.format(n=n) for n in range(pages)}
    files = TextFiles.of({"opsbook.yaml": cover, **texts})
    began = time.perf_counter()
    book, _ = load_or_problems(files)
    taken = time.perf_counter() - began
    assert book is not None
    assert len(book.runbooks) == pages
    bench.figure(f"check of {pages} pages", taken, "s", 2.0)


def main() -> int:
    short = quick(__doc__ or "")
    bench = Bench("runbooks")
    step = ours(bench, 2 if short else 20)
    ansible(bench, step)
    lint(bench, 100 if short else 1000)
    return bench.end()


if __name__ == "__main__":
    sys.exit(main())
