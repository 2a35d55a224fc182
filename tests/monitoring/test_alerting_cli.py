"""`opsbook silence` and `opsbook channels` as they are typed, against a server over HTTP."""

from __future__ import annotations

import json
import os
import subprocess
import sys

from alerting_house import Receiver
from test_alerting_served import Served, receiver, served  # noqa: F401 - fixtures


def typed(served: Served, *words: str, code: int = 0) -> tuple[str, str]:  # noqa: F811
    """What `opsbook WORDS` prints: data and messages."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("OPSBOOK_")}
    ended = subprocess.run(
        [sys.executable, "-m", "opsbook", "--server", served.url, *words],
        env=kept | {"OPSBOOK_TOKEN": "any", "NO_COLOR": "1"}, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert code == ended.returncode, ended.stderr
    return ended.stdout, ended.stderr


def test_a_silence_is_previewed_added_listed_and_expired(served: Served) -> None:  # noqa: F811
    """Its id is the data that `add` prints; everything else is for people."""
    served.house.fire("HighCpuUsage", service="worker")
    _, said = typed(served, "silence", "add", "service=worker", "--for", "2h", "-c", "batch", "--preview")
    assert "it would hide 1 alert that fires now:" in said
    name, said = typed(served, "silence", "add", "service=worker", "--for", "2h", "-c", "the batch")
    assert "it hides 1 alert that fires now:" in said
    assert "silenced" in said
    listed, _ = typed(served, "silence")
    [row] = [line for line in listed.splitlines() if name.strip() in line]
    assert ("‖ active", True, True) == (row[:8], 'service="worker"' in row, "the batch" in row)
    [found] = served.house.alerting.alerts()
    assert "suppressed" == found.state
    typed(served, "silence", "expire", name.strip())

    assert name.strip() not in typed(served, "silence")[0]
    assert name.strip() in typed(served, "silence", "list", "--all")[0]


def test_weekly_hours_and_deployments_are_silenced_until_expired(served: Served) -> None:  # noqa: F811
    """With the clocks of a place; as JSON it can be read by programs."""
    words = ["--weekly", "sun,mon 02:00-04:00", "--timezone", "Europe/Berlin", "-c", "backup", "--json"]
    made = json.loads(typed(served, "silence", "add", "service=db", *words)[0])["silence"]
    assert ({"days": ["sun", "mon"], "from": "02:00", "until": "04:00"}, "Europe/Berlin", None) == (
        made["weekly"], made["timezone"], made["expires_at"],
    )  # fmt: skip
    typed(served, "silence", "add", "alertname=InstanceDown", "--during", "deployment", "-c", "replaced")

    shown, _ = typed(served, "silence")
    assert "during deployment" in shown
    assert "book:nightly" in shown


def test_what_cannot_be_meant_is_said_with_a_way_out(served: Served) -> None:  # noqa: F811
    """And the exit code is that of a wrong use."""
    for words, what in (
        (["service=db", "-c", "x"], "it would never end"),
        (["nonsense", "--for", "1h", "-c", "x"], "is no matcher"),
        (["service=db", "--for", "1h", "--until", "4h", "-c", "x"], "either --for or --until"),
        (["service=db", "--weekly", "often", "-c", "x"], "--weekly"),
    ):
        _, said = typed(served, "silence", "add", *words, code=2)
        assert what in said
        assert "hint:" in said


def test_channels_are_listed_and_tested(served: Served, receiver: Receiver) -> None:  # noqa: F811
    """What the channel answered; and why it did not take it."""
    said, _ = typed(served, "channels", "test", "hook")
    assert "✔ taken hook: 200 OK: thanks" == said.strip()
    assert ["Test"] == [one.body["commonLabels"]["alertname"] for one in receiver.got]
    listed, _ = typed(served, "channels")
    assert "webhook" in listed
    receiver.answers = [500]
    _, said = typed(served, "channels", "test", "hook", code=1)
    assert "500 Internal Server Error" in said
    _, said = typed(served, "channels", "test", "nobody", code=2)

    assert "the handbook has no channel nobody" in said
