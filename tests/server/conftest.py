"""The same real server shell that the command line is tested against."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

_SPEC = importlib.util.spec_from_file_location(
    "canned_places", Path(__file__).parents[1] / "cli" / "conftest.py"
)
assert _SPEC is not None
assert _SPEC.loader is not None
_PLACES = importlib.util.module_from_spec(_SPEC)
sys.modules["canned_places"] = _PLACES  # dataclasses look their module up by name
_SPEC.loader.exec_module(_PLACES)

place = _PLACES.place
served = _PLACES.served
