"""Where opsbook is killed: every place that a deployment passes, by strategy. ``PHASE:PLACE``."""

from __future__ import annotations

REROUTE = ("reroute-before", "reroute-journaled", "reroute-applied", "reroute-confirmed", "reroute-after")
ENTER = ("enter-before", "enter-after")
START = ("start-before", "start-journaled", "start-one", "start-after")
STOP = ("stop-before", "stop-forgotten", "stop-after")
FINISH = ("finish-before", "finish-written", "finish-after")


def _phase(name: str, *places: str) -> tuple[str, ...]:
    return tuple(f"{name}:{place}" for place in ("entered", *places))


BEGIN = (*_phase("pending", *ENTER), *_phase("gated", *ENTER))
END = _phase("promoting", "promote-before", "promote-after")

PLACES = {
    "switch": (
        *BEGIN,
        *_phase("starting", *START, *ENTER),
        *_phase("ready", *REROUTE, *ENTER),
        *_phase("shifting", *REROUTE, *ENTER),
        *END,
        *_phase("draining", *REROUTE, *STOP, *FINISH),
    ),
    "roll": (
        *BEGIN,
        *_phase("starting", *START, *ENTER),
        *_phase("ready", *ENTER),
        *_phase("shifting", *REROUTE, *START, *STOP, *ENTER),
        *END,
        *_phase("draining", *REROUTE, *FINISH),
    ),
    "recreate": (
        *BEGIN,
        *_phase("starting", *REROUTE, *STOP, *START, *ENTER),
        *_phase("ready", *REROUTE, *ENTER),
        *_phase("shifting", *REROUTE, *ENTER),
        *END,
        *_phase("draining", *FINISH),
    ),
    "canary": (
        *BEGIN,
        *_phase("starting", *START, *ENTER),
        *_phase("ready", *REROUTE, *ENTER),
        *_phase("shifting", *REROUTE, *ENTER),
        *_phase("analysing", *ENTER),
        *END,
        *_phase("draining", *REROUTE, *STOP, *FINISH),
    ),
}
"""All of them, in the order in which they are passed first."""

CHOSEN = {
    "switch": (
        "pending:entered", "starting:start-one", "shifting:reroute-applied", "shifting:reroute-confirmed",
        "promoting:promote-after", "draining:reroute-applied", "draining:stop-forgotten", "draining:finish-written",
    ),
    "roll": ("starting:start-journaled", "shifting:reroute-applied", "promoting:promote-after"),
    "recreate": ("starting:reroute-journaled", "starting:stop-forgotten", "shifting:reroute-applied"),
    # A canary passes the same places at each of its steps: #2 is the second.
    "canary": (
        "analysing:entered", "shifting:reroute-applied#2",
    ),
}  # fmt: skip
"""Those that can differ in what is left behind; with OPSBOOK_CRASH_ALL=1 all are tried."""

BACK = _phase("aborting", "start-journaled", "start-one", *REROUTE, *STOP, "finish-before", "finish-after")
WAY_BACK = {
    "switch": tuple(place for place in BACK if "start" not in place),
    "roll": tuple(place for place in BACK if "start" not in place),
    "recreate": BACK,
    "canary": tuple(place for place in BACK if "start" not in place),
}
"""A version that always ends at once is taken back: the places on the way back. Before traffic has moved only recreate
has to start anything."""

CHOSEN_BACK = {
    "switch": ("aborting:entered", "aborting:stop-forgotten"),
    "recreate": (
        "aborting:start-one",
        "aborting:reroute-journaled",
        "aborting:finish-after",
    ),
}
