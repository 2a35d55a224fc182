"""YAML as Prometheus reads it: every word is text where text is wanted, anchors and merge keys are allowed.

A file that Prometheus takes must be taken here unchanged, so the handbook's own, stricter reader is not used.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import yaml

from opsbook.book.problems import Problem

_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_LARGEST = 4 * 1024 * 1024  # bytes
_DEEPEST = 64  # levels: composing recurses in C
_NULLS = frozenset({"", "~", "null", "Null", "NULL"})
_MERGE = "tag:yaml.org,2002:merge"


class Fault(Exception):
    """The text has no structure that could be used."""

    def __init__(self, line: int, message: str) -> None:
        super().__init__(message)
        self.line = line


def read(content: bytes) -> yaml.Node | None:
    """The first document of a file; None when it is empty.

    Raises:
        Fault: it is too large, no UTF-8, no YAML, or nested too deeply.
    """
    if len(content) > _LARGEST:
        raise Fault(0, f"expected a file below 4 MiB, got {len(content)} bytes")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise Fault(content.count(b"\n", 0, error.start) + 1, "expected UTF-8 text") from error
    try:
        depth = 0
        for event in yaml.parse(text, Loader=_Loader):
            depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
            if depth > _DEEPEST:
                raise Fault(_line(event), f"expected at most {_DEEPEST} levels of nesting")
        loader = _Loader(text)
        try:
            return loader.get_node() if loader.check_node() else None
        finally:
            loader.dispose()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        raise Fault(
            mark.line + 1 if mark else 0, f"cannot be read as YAML: {error.problem or error.context}"
        ) from error
    except (yaml.YAMLError, ValueError) as error:
        raise Fault(0, f"cannot be read as YAML: {error}") from error


def _line(event: yaml.Event) -> int:
    return int(event.start_mark.line) + 1 if event.start_mark else 0


def line_of(node: yaml.Node) -> int:
    return int(node.start_mark.line) + 1


class Fields:
    """The keys of one mapping, asked for by name; what nobody asked for is unknown.

    Args:
        file: for the problems.
        node: what is written there.
        path: where it is, in words: ``groups[0].rules[2]``.
        problems: everything wrong is added here.
    """

    def __init__(self, file: str, node: yaml.Node, path: str, problems: list[Problem]) -> None:
        self.file = file
        self.path = path
        self.line = line_of(node)
        self._problems = problems
        self._nodes: dict[str, tuple[yaml.Node, yaml.Node]] = {}
        if isinstance(node, yaml.MappingNode):
            for key, value in self._pairs(node):
                if key.value in self._nodes:
                    self.problem(f"the key {key.value} is written twice", key)
                self._nodes[key.value] = key, value
        elif not _is_null(node):
            self.problem("expected a mapping (key: value)", node)

    def known(self, *names: str) -> None:
        """Complain of every key that is none of `names`."""
        for name, (key, _) in self._nodes.items():
            if name not in names:
                self.problem(f"field {name} is not known here", key, f"known: {', '.join(names)}")

    def text(self, name: str) -> str | None:
        """A scalar as it is written; None when it is not there."""
        node = self.node(name)
        if node is None:
            return None
        if not isinstance(node, yaml.ScalarNode):
            self.problem("expected text", node)
            return None
        return "" if _is_null(node) else str(node.value)

    def texts(self, name: str) -> dict[str, str]:
        """A mapping of texts."""
        node, found = self.node(name), dict[str, str]()
        if node is None or _is_null(node):
            return found
        inner = Fields(self.file, node, f"{self.path}.{name}", self._problems)
        for key in inner._nodes:
            value = inner.text(key)
            if value is not None:
                found[key] = value
        return found

    def scalars(self, name: str) -> list[str]:
        """A list of texts."""
        node = self.node(name)
        if node is None or _is_null(node):
            return []
        if not isinstance(node, yaml.SequenceNode) or not all(
            isinstance(v, yaml.ScalarNode) for v in node.value
        ):
            self.problem("expected a list of texts", node)
            return []
        return [str(item.value) for item in node.value]

    def items(self, name: str) -> list[Fields]:
        """A list of mappings."""
        node = self.node(name)
        if node is None or _is_null(node):
            return []
        if not isinstance(node, yaml.SequenceNode):
            self.problem("expected a list", node)
            return []
        path = f"{self.path}.{name}" if self.path else name
        return [Fields(self.file, item, f"{path}[{i}]", self._problems) for i, item in enumerate(node.value)]

    def node(self, name: str) -> yaml.Node | None:
        return self._nodes[name][1] if name in self._nodes else None

    def has(self, name: str) -> bool:
        return name in self._nodes

    def line_at(self, name: str) -> int:
        return line_of(self._nodes[name][0]) if name in self._nodes else self.line

    def problem(self, message: str, at: yaml.Node | str | None = None, hint: str = "") -> None:
        line = self.line_at(at) if isinstance(at, str) else self.line if at is None else line_of(at)
        path = f"{self.path}.{at}" if isinstance(at, str) and self.has(at) else self.path
        self._problems.append(Problem(self.file, line, path, message, hint))

    def _pairs(self, node: yaml.MappingNode) -> Iterator[tuple[yaml.Node, yaml.Node]]:
        """The keys and values, with those that are merged in (``<<``) and not written here."""
        own = [(key, value) for key, value in node.value if key.tag != _MERGE]
        written = {key.value for key, _ in own if isinstance(key, yaml.ScalarNode)}
        for key, value in own:
            if isinstance(key, yaml.ScalarNode):
                yield key, value
            else:
                self.problem("expected text as a key", key)
        for key, value in node.value:
            if key.tag == _MERGE:
                for merged in value.value if isinstance(value, yaml.SequenceNode) else [value]:
                    if isinstance(merged, yaml.MappingNode):
                        pairs = [pair for pair in merged.value if isinstance(pair[0], yaml.ScalarNode)]
                        yield from (pair for pair in pairs if pair[0].value not in written)


def _is_null(node: yaml.Node) -> bool:
    return isinstance(node, yaml.ScalarNode) and node.style is None and node.value in _NULLS
