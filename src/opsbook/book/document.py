"""One YAML file as plain values, each of which still knows its line.

Read from libyaml's events and not through its composer: the composer recurses in C, and a file of a hundred
thousand brackets would take the process down. The events also show what a composed tree hides: aliases, tags,
duplicate keys.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Literal

import yaml

from opsbook.book.problems import Problem
from opsbook.book.scalars import Guess, plain, quoted, shorten

_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

LARGEST_FILE = 1024 * 1024  # bytes; a page that people read is far smaller
_CORE_TAG = "tag:yaml.org,2002:"
DEEPEST = 24  # levels; the format itself needs seven

Loc = Sequence[str | int]
Kind = Literal["scalar", "list", "mapping"]


class Node:
    """A value with its place. `data` is what the models are given: a scalar, a tuple or a dict."""

    __slots__ = ("children", "data", "key_lines", "kind", "line", "plain", "raw")

    def __init__(self, kind: Kind, line: int, data: Any, raw: str = "", *, plain: bool = False) -> None:
        self.kind = kind
        self.line = line
        self.data = data
        self.raw = raw  # a scalar's text as written
        self.plain = plain  # a scalar without quotes
        self.children: dict[str | int, Node] = {}
        self.key_lines: dict[str, int] = {}


class Document:
    """A file's values and the lines they stand on."""

    def __init__(self, file: str, root: Node) -> None:
        self.file = file
        self.root = root

    @property
    def data(self) -> Any:
        return self.root.data

    def node(self, loc: Loc) -> Node | None:
        """The value at `loc`, or None when it is not written."""
        node: Node | None = self.root
        for item in loc:
            node = node.children.get(item) if node else None
        return node

    def line(self, loc: Loc) -> int:
        """The line of the key at `loc`, or of the nearest thing around it that is written."""
        node, line = self.root, self.root.line
        for item in loc:
            child = node.children.get(item)
            if child is None:
                break
            line = node.key_lines.get(str(item), child.line) if node.kind == "mapping" else child.line
            node = child
        return line

    def problem(self, loc: Loc, message: str, hint: str = "") -> Problem:
        """An error at `loc` of this file."""
        return Problem(self.file, self.line(loc), spelled(loc), message, hint)

    def warning(self, loc: Loc, message: str, hint: str = "") -> Problem:
        """Something good operations would not lack, at `loc` of this file."""
        return Problem(self.file, self.line(loc), spelled(loc), message, hint, "warning")


def spelled(loc: Loc) -> str:
    """``("steps", 0, "weight")`` as ``steps[0].weight``."""
    text = ""
    for item in loc:
        text += f"[{item}]" if isinstance(item, int) else f".{shorten(item)}" if text else shorten(item)
    return text


def parse(file: str, content: bytes) -> tuple[Document | None, list[Problem]]:
    """Read one YAML file.

    Returns:
        The document, or None when it has no usable structure, and every problem found on the way.
    """
    if len(content) > LARGEST_FILE:
        return None, [Problem(file, 0, "", f"expected a file below 1 MiB, got {len(content)} bytes")]
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        return None, [Problem(file, line, "", "expected UTF-8 text", "save the file as UTF-8")]
    reader = _Reader(file, text)
    try:
        root = reader.read()
    except _Unreadable as error:
        return None, [*reader.problems, error.problem]
    return Document(file, root), reader.problems


class _Unreadable(Exception):
    def __init__(self, problem: Problem) -> None:
        super().__init__(str(problem))
        self.problem = problem


class _Reader:
    def __init__(self, file: str, text: str) -> None:
        self.file = file
        self.text = text
        self.problems: list[Problem] = []
        self.root: Node | None = None
        self.stack: list[
            tuple[Node, str | None]
        ] = []  # what is open; a mapping with the key that awaits its value

    def read(self) -> Node:
        for event in self._events():
            if isinstance(event, yaml.NodeEvent):
                self._begin(self._node(event, _line(event)))
            elif isinstance(event, yaml.CollectionEndEvent):
                self._end()
            elif isinstance(event, yaml.DocumentStartEvent) and self.root is not None:
                line = _line(event)
                self._stop(
                    line, "expected one document a file, got a second one", "make it a file of its own"
                )
        return self.root or Node("scalar", 1, None, "", plain=True)

    def _node(self, event: Any, line: int) -> Node:
        if isinstance(event, yaml.AliasEvent) or event.anchor is not None:
            self._stop(line, "anchors and aliases are not part of the format", "write the value out")
        is_scalar = isinstance(event, yaml.ScalarEvent)
        if event.tag is not None and not (event.tag == "!" and is_scalar):
            self._stop(
                line,
                f"the tag {shorten(event.tag.replace(_CORE_TAG, '!!'))} is not part of the format",
                "remove the tag",
            )
        if is_scalar:
            return Node("scalar", line, None, event.value, plain=event.implicit[0])
        return (
            Node("mapping", line, {}) if isinstance(event, yaml.MappingStartEvent) else Node("list", line, [])
        )

    def _begin(self, node: Node) -> None:
        self.root = self.root or node
        stack = self.stack
        if node.kind == "scalar":
            self._scalar(stack, node)
            return
        if len(stack) >= DEEPEST:
            self._stop(node.line, f"expected at most {DEEPEST} levels of nesting")
        if stack and stack[-1][0].kind == "mapping" and stack[-1][1] is None:
            self._stop(
                node.line, "expected a key, got a list or a mapping", 'quote what holds braces: "{port}"'
            )
        stack.append((node, None))

    def _end(self) -> None:
        node, _ = self.stack.pop()
        if node.kind == "list":
            node.data = tuple(node.data)
        if self.stack:
            self._place(self.stack, node)

    def _scalar(self, stack: list[tuple[Node, str | None]], node: Node) -> None:
        if stack and stack[-1][0].kind == "mapping" and stack[-1][1] is None:
            self._key(stack, node)
            return
        node.data = self._value(node)
        if stack:
            self._place(stack, node)

    def _key(self, stack: list[tuple[Node, str | None]], key: Node) -> None:
        mapping, _ = stack[-1]
        name = key.raw
        stack[-1] = (mapping, name)
        if key.plain and not isinstance(self._value(key), str):
            hint = f"write {quoted(name)}"
            self.problems.append(Problem(self.file, key.line, self._path(), "expected text as a key", hint))
        if name in mapping.key_lines:
            first = mapping.key_lines[name]
            self.problems.append(
                Problem(
                    self.file, key.line, self._path(), f"the key is written twice, first on line {first}",
                    "remove one of them",
                )
            )  # fmt: skip
        mapping.key_lines[name] = key.line

    def _place(self, stack: list[tuple[Node, str | None]], node: Node) -> None:
        parent, key = stack[-1]
        if parent.kind == "list":
            parent.children[len(parent.children)] = node
            parent.data.append(node.data)
        else:
            assert key is not None
            parent.children[key] = node
            parent.data[key] = node.data
            stack[-1] = (parent, None)

    def _value(self, node: Node) -> Any:
        if not node.plain:
            return node.raw
        try:
            return plain(node.raw)
        except Guess as guess:
            problem = Problem(self.file, node.line, self._path(), str(guess), guess.hint)
            self.problems.append(problem)
            return node.raw  # read as text, so that nothing else is said of it

    def _path(self) -> str:
        """Where the reader is, for a problem found on the way."""
        places = ((len(node.data) if node.kind == "list" else key) for node, key in self.stack)
        return spelled([place for place in places if place is not None])

    def _stop(self, line: int, message: str, hint: str = "") -> None:
        raise _Unreadable(Problem(self.file, line, "", message, hint))

    def _events(self) -> Iterator[Any]:
        try:
            yield from yaml.parse(self.text, Loader=_Loader)
        except yaml.MarkedYAMLError as error:
            raise _Unreadable(self._syntax(error)) from error
        except yaml.reader.ReaderError as error:
            position = error.position if isinstance(error.position, int) else 0
            line = self.text.count("\n", 0, position) + 1
            raise _Unreadable(
                Problem(self.file, line, "", "a control character is in the text", "remove it")
            ) from error
        except (yaml.YAMLError, ValueError) as error:  # ValueError: a lone surrogate escape
            raise _Unreadable(Problem(self.file, 0, "", f"cannot be read as YAML: {error}")) from error

    def _syntax(self, error: yaml.MarkedYAMLError) -> Problem:
        mark = error.problem_mark or error.context_mark
        if error.problem in _NOTICED_LATE and error.context_mark is not None:
            mark = error.context_mark
        line = mark.line + 1 if mark else 0
        lines = self.text.splitlines()
        written = lines[line - 1] if 0 < line <= len(lines) else ""
        problem = (error.problem or error.context or "not readable").strip()
        message, hint = _plainly(problem, written)
        return Problem(self.file, min(line, max(len(lines), 1)), "", message, hint)


_COMPLAINTS = (
    ("cannot start any token", "a value begins with a character that YAML reserves", "put the value in double quotes"),
    ("mapping values are not allowed", "a second colon in one line", "quote the value, or check the indentation"),
    ("could not find expected ':'", "expected a colon after the key", "write key: value"),
    ("did not find expected key", "expected a key in line with those before", "check indentation and quotes"),
    ("',' or ']'", "a list is not closed", "close it with ]"),
    ("',' or '}'", "a mapping is not closed", "close it with }"),
    ("unexpected end of stream", "a quote is not closed", "add the closing quote"),
)  # fmt: skip


_NOTICED_LATE = ("could not find expected ':'", "found unexpected end of stream")  # where it begins says more


def _line(event: Any) -> int:
    line: int = event.start_mark.line + 1
    return line


def _plainly(problem: str, written: str) -> tuple[str, str]:
    """libyaml's complaint in the words of somebody who writes a file and not a parser."""
    indent = written[: len(written) - len(written.lstrip())]
    if "\t" in indent or ("cannot start any token" in problem and "\t" in written):
        return "a tab where spaces are expected", "indent with two spaces"
    for complaint, message, hint in _COMPLAINTS:
        if complaint in problem:
            return message, hint
    return f"cannot be read as YAML: {problem}", ""
