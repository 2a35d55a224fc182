"""Change one value in a YAML text and nothing else: comments, order, quotes, spaces and line ends stay.

The place is found by YAML's own marks and the text is changed there. A round trip through a document model would
also re-indent lists, re-space braces and fold long lines, and a commit by opsbook must show the one line it is about.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import yaml

from opsbook.book.document import Document, parse, spelled
from opsbook.book.draft import environment_file
from opsbook.book.files import Files
from opsbook.book.problems import did_you_mean
from opsbook.book.scalars import Scalar, is_plain_text, quoted
from opsbook.errors import Invalid, NotFound

Path = tuple[str | int, ...]

_BYTE_ORDER_MARK = "\ufeff"


def plan_version_change(files: Files, environment: str, service: str, version: str) -> tuple[str, str]:
    """The environment's file with `version` as what `service` runs there.

    Returns:
        The path within the handbook, and the whole new text (the same text when it says so already).

    Raises:
        NotFound: the environment or the service in it is not written.
        Invalid: the file cannot be read.
    """
    file = environment_file(environment)
    if file not in files.paths():
        raise NotFound(f"no environment {environment}", where=files.where)
    text = files.read(file).decode()
    services = _document(text, file).node(("services",))
    if services is None or service not in services.children:
        known = services.children if services else ()
        raise NotFound(
            f"{service} is not in {environment}", hint=did_you_mean(service, map(str, known)), where=file
        )
    return file, set_value(text, ("services", service, "version"), version, where=file)


def set_value(text: str, path: Path, value: Scalar, *, where: str = "") -> str:
    """`text` with `value` at `path`; keys that are missing are added at the end of the mapping that lacks them.

    Raises:
        Invalid: the text is no handbook YAML, or something that is no single value stands at `path`.
    """
    if isinstance(value, float) and not math.isfinite(value):
        raise Invalid(f"{value} is not a finite number", where=where)
    mark = _BYTE_ORDER_MARK if text.startswith(_BYTE_ORDER_MARK) else ""
    body = text[len(mark) :]
    before = _document(body, where).data
    if not path or not isinstance(before, dict):
        raise Invalid("expected a mapping (key: value) to write to", where=where)
    changed = _changed(body, path, value, where)
    if _document(changed, where).data != _with(before, path, value):
        raise Invalid(f"cannot write {spelled(path)} without changing something else", where=where)
    return mark + changed


def _document(text: str, where: str) -> Document:
    document, problems = parse(where or "text", text.encode("utf-8", "surrogatepass"))
    if document is None or problems:
        raise Invalid(problems[0].message, hint=problems[0].hint, where=problems[0].where)
    return document


def _changed(text: str, path: Path, value: Scalar, where: str) -> str:
    node: Any = yaml.compose(text, Loader=yaml.SafeLoader)
    for depth, item in enumerate(path):
        child = _child(node, item)
        if child is None:
            return _added(text, node, path[depth:], value, where)
        node = child
    if not isinstance(node, yaml.ScalarNode):
        raise Invalid(f"{spelled(path)}: expected a single value, got a {node.id}", where=where)
    return _replaced(text, node, _written(value, node))


def _child(node: Any, item: str | int) -> Any:
    if isinstance(node, yaml.MappingNode) and isinstance(item, str):
        return next((value for key, value in node.value if key.value == item), None)
    if isinstance(node, yaml.SequenceNode) and isinstance(item, int) and 0 <= item < len(node.value):
        return node.value[item]
    return None


def _replaced(text: str, node: Any, written: str) -> str:
    start: int = node.start_mark.index
    end: int = node.end_mark.index
    if start == end:  # nothing was written: the place is right after the colon
        written = f" {written}" if text[:start].endswith(":") else f": {written}"
    elif text[start:end].endswith("\n"):  # a block scalar takes its last line end with it
        written += _line_end(text)
    return f"{text[:start]}{written}{text[end:]}"


def _added(text: str, node: Any, path: Path, value: Scalar, where: str) -> str:
    key = path[0]
    if not isinstance(key, str):
        raise Invalid(f"no entry {key} in the list", where=where)
    entry = f"{_key(key)}: {_nested(path[1:], value, where)}"
    if (
        isinstance(node, yaml.ScalarNode)
        and node.value in {"", "~", "null", "Null", "NULL"}
        and not node.style
    ):
        return _replaced(text, node, "{" + entry + "}")
    if not isinstance(node, yaml.MappingNode):
        raise Invalid(f"{key}: expected a mapping to add it to, got a {node.id}", where=where)
    if node.flow_style:
        if not node.value:
            place = node.start_mark.index + 1
            return text[:place] + entry + text[place:]
        place = _end(node.value[-1][1])
        return f"{text[:place]}, {entry}{text[place:]}"
    line_end = _line_end(text)
    indent: int = node.value[0][0].start_mark.column
    line = " " * indent + entry + line_end
    end = _end(node.value[-1][1])
    place = end if text[:end].endswith("\n") else text.find("\n", end) + 1
    if place == 0:  # the text's last line has no end
        return text + line_end + line.removesuffix(line_end)
    return text[:place] + line + text[place:]


def _end(node: Any) -> int:
    """Where the last thing written of `node` ends; a block's own mark lies beyond the comments after it."""
    if isinstance(node, yaml.CollectionNode) and not node.flow_style and node.value:
        last = node.value[-1]
        return _end(last[1] if isinstance(last, tuple) else last)
    end: int = node.end_mark.index
    return end


def _nested(path: Path, value: Scalar, where: str) -> str:
    if not path:
        return _written(value, None)
    if not isinstance(path[0], str):
        raise Invalid(f"no entry {path[0]} in a list that is not there", where=where)
    return "{" + f"{_key(path[0])}: {_nested(path[1:], value, where)}" + "}"


def _key(key: str) -> str:
    return key if is_plain_text(key) else quoted(key)


def _written(value: Scalar, old: Any) -> str:
    """The value as YAML, in the quotes of what stood there; text that is new or odd is quoted."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return repr(value)
    style = old.style if old is not None else '"'
    if style == "'" and value.isprintable():
        return "'" + value.replace("'", "''") + "'"
    return value if style is None and is_plain_text(value) else quoted(value)


def _line_end(text: str) -> str:
    return "\r\n" if "\r\n" in text else "\n"


def _with(data: Any, path: Path, value: Scalar) -> Any:
    """`data` as it should be afterwards."""
    if not path:
        return value
    item, rest = path[0], path[1:]
    if isinstance(data, tuple) and isinstance(item, int):
        return (*data[:item], _with(data[item], rest, value), *data[item + 1 :])
    known: Mapping[Any, Any] = data if isinstance(data, dict) else {}
    return {**known, item: _with(known.get(item), rest, value)}
