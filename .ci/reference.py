"""Write the reference pages that are generated from the code: `make docs`. With --check: say which are out of step."""

from __future__ import annotations

import importlib
import pkgutil
import sys
from pathlib import Path

import opsbook
from opsbook.book.reference import reference as handbook
from opsbook.cli.main import cli
from opsbook.cli.reference import reference as command_line
from opsbook.journal import reference as journal
from opsbook.world.telemetry.named import NAMED

FOLDER = Path(__file__).parents[1] / "docs" / "reference"


def pages() -> dict[str, str]:
    """The text of each page by its file name."""
    for module in pkgutil.walk_packages(opsbook.__path__, "opsbook."):
        if "__main__" not in module.name:
            importlib.import_module(module.name)  # rooms register their kinds of events when imported
    return {
        "cli.md": command_line(cli),
        "handbook.md": handbook(),
        "journal.md": journal(),
        "metrics.md": metrics(),
    }


def metrics() -> str:
    """The named metrics as a page."""
    lines = [
        "# Named metrics",
        "",
        "| name | unit | what it says | how it is computed |",
        "|---|---|---|---|",
    ]
    for metric in NAMED.values():
        cells = (f"`{metric.name}`", metric.unit, metric.description, metric.computed)
        lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return "\n".join(lines) + "\n"


def main() -> int:
    """Write them, or compare; returns the exit code."""
    check = "--check" in sys.argv[1:]
    FOLDER.mkdir(parents=True, exist_ok=True)
    different = []
    for name, text in pages().items():
        file = FOLDER / name
        if not file.exists() or file.read_text(encoding="utf-8") != text:
            different.append(name)
            if not check:
                file.write_text(text, encoding="utf-8")
    if different:
        print(f"{'out of step' if check else 'written'}: {', '.join(different)}")
    return 1 if check and different else 0


if __name__ == "__main__":
    sys.exit(main())
