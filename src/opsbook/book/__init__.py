"""What should be: handbook files to frozen objects, or errors with their file and line. Pure; knows nobody.

The names below are the room's public face. They are imported when first used: reading a handbook needs pydantic,
and `opsbook --version` should not.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from opsbook.book.analysis import HOST_METRICS, NAMED_METRICS, AnalysisRule
    from opsbook.book.canary import CanaryStep, Pin, ProbeLoad
    from opsbook.book.channels import Channel
    from opsbook.book.checklist import CHECKS, Checklist, ChecklistItem, HttpRequest
    from opsbook.book.comparison import Difference, differences
    from opsbook.book.cover import Contact, Cover
    from opsbook.book.dependencies import dependency_order
    from opsbook.book.effective import EffectiveService, Route
    from opsbook.book.environment import Entry, Environment, Hook, Hooks, Placement, Protect
    from opsbook.book.files import Files, FolderFiles, TextFiles
    from opsbook.book.freezes import Freeze
    from opsbook.book.keeper import BookKeeper, Change
    from opsbook.book.loading import load, load_or_problems
    from opsbook.book.model import Book
    from opsbook.book.pipeline import Pipeline, Stage
    from opsbook.book.problems import HandbookError, Problem
    from opsbook.book.quantities import CountOrShare
    from opsbook.book.roles import ROLES, Grant, Role
    from opsbook.book.schema import schemas
    from opsbook.book.service import Health, Metrics, Resources, RouteSpec, Run, Service, Source
    from opsbook.book.strategy import CrashLoop, Strategy
    from opsbook.book.templates import Placeholder, fill, placeholders
    from opsbook.book.write_back import plan_version_change, set_value

__all__ = [
    "CHECKS",
    "HOST_METRICS",
    "NAMED_METRICS",
    "ROLES",
    "AnalysisRule",
    "Book",
    "BookKeeper",
    "CanaryStep",
    "Change",
    "Channel",
    "Checklist",
    "ChecklistItem",
    "Contact",
    "CountOrShare",
    "Cover",
    "CrashLoop",
    "Difference",
    "EffectiveService",
    "Entry",
    "Environment",
    "Files",
    "FolderFiles",
    "Freeze",
    "Grant",
    "HandbookError",
    "Health",
    "Hook",
    "Hooks",
    "HttpRequest",
    "Metrics",
    "Pin",
    "Pipeline",
    "Placeholder",
    "Placement",
    "ProbeLoad",
    "Problem",
    "Protect",
    "Resources",
    "Role",
    "Route",
    "RouteSpec",
    "Run",
    "Service",
    "Source",
    "Stage",
    "Strategy",
    "TextFiles",
    "dependency_order",
    "differences",
    "fill",
    "load",
    "load_or_problems",
    "placeholders",
    "plan_version_change",
    "schemas",
    "set_value",
]

_HOMES = {
    "analysis": ("HOST_METRICS", "NAMED_METRICS", "AnalysisRule"),
    "canary": ("CanaryStep", "Pin", "ProbeLoad"),
    "checklist": ("CHECKS", "Checklist", "ChecklistItem", "HttpRequest"),
    "channels": ("Channel",),
    "cover": ("Contact", "Cover"),
    "dependencies": ("dependency_order",),
    "comparison": ("Difference", "differences"),
    "effective": ("EffectiveService", "Route"),
    "environment": ("Entry", "Environment", "Hook", "Hooks", "Placement", "Protect"),
    "files": ("Files", "FolderFiles", "TextFiles"),
    "freezes": ("Freeze",),
    "keeper": ("BookKeeper", "Change"),
    "loading": ("load", "load_or_problems"),
    "model": ("Book",),
    "pipeline": ("Pipeline", "Stage"),
    "roles": ("ROLES", "Grant", "Role"),
    "templates": ("Placeholder", "fill", "placeholders"),
    "problems": ("HandbookError", "Problem"),
    "quantities": ("CountOrShare",),
    "schema": ("schemas",),
    "service": ("Health", "Metrics", "Resources", "RouteSpec", "Run", "Service", "Source"),
    "strategy": ("CrashLoop", "Strategy"),
    "write_back": ("plan_version_change", "set_value"),
}
_MODULES = {name: module for module, names in _HOMES.items() for name in names}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
