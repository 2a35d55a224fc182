"""Files in which other programs say what is to be scraped: the JSON and YAML of Prometheus' file_sd, watched."""

from __future__ import annotations

import glob
import json
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import yaml

from opsbook.errors import Invalid, OpsbookError

LARGEST = 8 * 1024 * 1024  # bytes
MOST = 2000  # addresses in one file

_LABEL = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_ADDRESS = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[^\s:/@\[\]]+):[0-9]{1,5}")
_Stamp: TypeAlias = tuple[int, int, int]


@dataclass(frozen=True, slots=True)
class Listed:
    """An address with its labels, those that begin with two underscores among them, and where it stands."""

    address: str
    labels: tuple[tuple[str, str], ...]
    file: str


@dataclass(slots=True)
class _Kept:
    stamp: _Stamp | None = None  # of the file as it was read last; None: it could not be looked at
    listed: tuple[Listed, ...] = ()
    problem: str = ""


class TargetFiles:
    """Reads a file again when it has changed. One that has become unreadable keeps what it last said; one that is gone
    says nothing any more. For one thread."""

    def __init__(self) -> None:
        self._kept: dict[str, _Kept] = {}

    def look(self, folder: Path, patterns: Sequence[str]) -> tuple[Listed, ...]:
        """What the files say now.

        Args:
            folder: from which relative patterns are seen.
            patterns: files; the last part may have one ``*``.
        """
        found: list[Listed] = []
        for pattern in patterns:
            for name in sorted(glob.glob(str(folder / pattern))):  # noqa: PTH207 - absolute patterns are patterns too
                found += self._read(name)
        return tuple(dict.fromkeys(found))

    def problems(self) -> tuple[str, ...]:
        """What is wrong with which file; nothing of those that are well."""
        return tuple(f"{name}: {kept.problem}" for name, kept in sorted(self._kept.items()) if kept.problem)

    def forget_missing(self) -> None:
        """Let go of files that are no more."""
        self._kept = {name: kept for name, kept in self._kept.items() if os.path.exists(name)}  # noqa: PTH110

    def _read(self, name: str) -> tuple[Listed, ...]:
        kept = self._kept.setdefault(name, _Kept())
        try:
            status = os.stat(name)  # noqa: PTH116
            stamp = (status.st_mtime_ns, status.st_size, status.st_ino)
            if stamp == kept.stamp:
                return kept.listed
            if status.st_size > LARGEST:
                raise Invalid(f"it is larger than {LARGEST} bytes")
            kept.listed, kept.problem = listed(name, Path(name).read_bytes()), ""
            kept.stamp = stamp
        except FileNotFoundError:
            self._kept.pop(name)
            return ()
        except OSError as error:
            kept.stamp, kept.problem = None, f"it cannot be read: {error.strerror}"
        except OpsbookError as error:
            kept.stamp, kept.problem = stamp, error.message
        return kept.listed


def listed(name: str, content: bytes) -> tuple[Listed, ...]:
    """What a file says.

    Args:
        name: of the file; its ending says what it is.

    Raises:
        Invalid: it is not in the format.
    """
    try:
        text = content.decode()
        data = json.loads(text) if name.endswith(".json") else yaml.safe_load(text)
    except (ValueError, yaml.YAMLError, RecursionError) as error:
        said = " ".join(str(error).split())
        raise Invalid(f"it is neither JSON nor YAML as its name says: {said}") from error
    if data is None:
        return ()
    if not isinstance(data, list):
        raise Invalid("expected a list of {targets: [host:port], labels: {...}}")
    found = tuple(each for number, group in enumerate(data) for each in _group(name, number, group))
    if len(found) > MOST:
        raise Invalid(f"it has {len(found)} addresses, more than {MOST}")
    return found


def _group(name: str, number: int, group: Any) -> list[Listed]:
    here = f"entry {number + 1}"
    if not isinstance(group, dict) or set(group) - {"targets", "labels"}:
        raise Invalid(f"{here}: expected targets and labels, and nothing else")
    targets, labels = group.get("targets") or [], group.get("labels") or {}
    if not isinstance(targets, list) or not all(isinstance(each, str) for each in targets):
        raise Invalid(f"{here}: targets is no list of texts")
    if not isinstance(labels, dict):
        raise Invalid(f"{here}: labels is no mapping")
    for label, value in labels.items():
        if not isinstance(label, str) or not _LABEL.fullmatch(label) or label == "__name__":
            raise Invalid(f"{here}: {label} is no name of a label")
        if not isinstance(value, str):
            raise Invalid(f"{here}: the value of {label} is no text")
    for address in targets:
        if not _ADDRESS.fullmatch(address) or not 0 < int(address.rpartition(":")[2]) < 65536:
            raise Invalid(f'{here}: expected host:port, got "{address}"')
    pairs = tuple(sorted(labels.items()))
    return [Listed(address, pairs, name) for address in targets]
