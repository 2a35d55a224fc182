"""From a document to a model, and from what a model refuses back to the line that it is about."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping
from types import UnionType
from typing import Any, TypeVar, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails, PydanticCustomError

from opsbook.book.document import Document, Loc, Node
from opsbook.book.fields import Part
from opsbook.book.problems import Problem, did_you_mean, nearest
from opsbook.book.scalars import flow, quoted, shorten

M = TypeVar("M", bound=Part)

_KEY = "[key]"  # pydantic's mark for an error in a mapping's key


def validate(document: Document, model: type[M]) -> tuple[M | None, list[Problem]]:
    """The model that `document` describes, or None and why not."""
    if not isinstance(document.data, dict):
        message = f"expected a mapping (key: value), got {found(document.root)}"
        return None, [document.problem((), message, f"begin with {next(iter(_fields(model)))}: ...")]
    try:
        return model.model_validate(document.data), []
    except ValidationError as error:
        refusals = (details for details in error.errors(include_url=False) if not _follows(document, details))
        return None, [_explained(document, model, details) for details in refusals]


def _follows(document: Document, details: ErrorDetails) -> bool:
    """Whether pydantic says it only because of another error: a list is too short without its wrong entries."""
    node = document.node(details["loc"])
    return details["type"] == "too_short" and node is not None and bool(node.children)


def refused(document: Document, loc: Loc, error: PydanticCustomError) -> Problem:
    """What a check outside of validation refused at `loc`, in the same words."""
    context = error.context or {}
    place = (*loc, *context.get("at", ()))
    return document.problem(place, str(context.get("message", "")), str(context.get("hint", "")))


def found(node: Node | None) -> str:
    """What is written there, in words."""
    if node is None or (node.kind == "scalar" and node.data is None):
        return "nothing"
    if node.kind != "scalar":
        empty = "an empty " if not node.children else "a "
        return f"{empty}{node.kind}"
    if isinstance(node.data, bool):
        return node.raw
    if isinstance(node.data, int | float):
        return f"the number {node.raw}"
    return quoted(shorten(node.raw))


def _explained(document: Document, model: type[BaseModel], details: ErrorDetails) -> Problem:
    loc: tuple[str | int, ...] = details["loc"]
    is_key = bool(loc) and loc[-1] == _KEY
    loc = loc[:-1] if is_key else loc
    context: dict[str, Any] = details.get("ctx", {})
    kind = details["type"]
    if kind == "wrong":
        return document.problem((*loc, *context["at"]), context["message"], context["hint"])
    node = document.node(loc)
    if node is None and loc and (above := document.node(loc[:-1])) is not None and not above.children:
        node = above  # a short form: the text alone stands for one of the fields
    got = quoted(shorten(str(loc[-1]))) if is_key else found(node)
    if kind == "extra_forbidden":
        known = _keys_at(model, loc[:-1])
        written = document.node(loc[:-1])
        left = [key for key in known if written is None or key not in written.children]
        hint = nearest(str(loc[-1]), known) or did_you_mean(str(loc[-1]), left)
        return document.problem(loc, "unknown key", hint)
    if kind == "missing":
        return document.problem(loc, *_missing(model, loc))
    if kind == "tuple_type":
        what = "a list of strings" if not any(_models(next(_inner_at(model, (*loc, 0)), None))) else "a list"
        return document.problem(loc, f"expected {what}, got {got}", _as_list(details["input"]))
    what, hint = _expectation(kind, context, details["input"], node)
    return document.problem(loc, f"expected {what}, got {got}", hint)


_SIMPLE = {
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "bool_type": "true or false",
    **dict.fromkeys(("mapping_type", "dict_type", "model_type"), "a mapping (key: value)"),
    "greater_than_equal": "at least {ge}",
    "less_than_equal": "at most {le}",
    "greater_than": "more than {gt}",
    "too_short": "at least one entry",
    "string_too_short": "some text",
}  # pydantic's kinds of errors in our words


def _expectation(kind: str, context: Mapping[str, Any], value: Any, node: Node | None) -> tuple[str, str]:
    """What was expected, and the way out."""
    if kind in _SIMPLE:
        limits = {key: f"{value:g}" if isinstance(value, float) else value for key, value in context.items()}
        return _SIMPLE[kind].format_map(limits), _as_number(value) if "number" in _SIMPLE[kind] else ""
    match kind:
        case "expected":
            return str(context["what"]), str(context["hint"]) or _unquoted_placeholder(node)
        case "string_type":
            return "text", _as_text(value, node)
        case "literal_error":
            choices = str(context["expected"]).replace("'", "").replace(" or ", ", ").split(", ")
            expected = choices[0] if len(choices) == 1 else f"one of {', '.join(choices)}"
            return expected, nearest(value, choices) if isinstance(value, str) else ""
        case _:
            return f"something else ({kind.replace('_', ' ')})", ""


def _as_text(value: Any, node: Node | None) -> str:
    if node is not None and node.kind == "scalar" and value is not None:
        return f"write {quoted(node.raw)}"
    return _unquoted_placeholder(node)


def _unquoted_placeholder(node: Node | None) -> str:
    """``{port}`` without quotes is a mapping to YAML; nearly always the text was meant."""
    if node is not None and node.kind == "mapping" and len(node.children) == 1:
        (key, child), *_ = node.children.items()
        if child.kind == "scalar" and child.raw == "":
            return f"write {quoted('{' + str(key) + '}')}"
    return ""


def _as_number(value: Any) -> str:
    text = value.strip() if isinstance(value, str) else ""
    return f"write {text} without quotes" if text.isascii() and text.isdigit() else ""


def _as_list(value: Any) -> str:
    if not isinstance(value, str):
        return ""
    try:
        words = shlex.split(value)
    except ValueError:
        words = value.split()
    return f"write [{', '.join(quoted(word) for word in words)}]" if words and len(value) <= 200 else ""


def _keys_at(model: type[BaseModel], loc: Loc) -> tuple[str, ...]:
    """The keys that the model at `loc` below `model` knows."""
    part = next(_models(next(_inner_at(model, loc), None)), None)
    return tuple(_fields(part)) if part else ()


def _fields(part: type[BaseModel]) -> dict[str, FieldInfo]:
    """The fields of a model by the keys that people write."""
    return {field.alias or name: field for name, field in part.model_fields.items()}


def _missing(model: type[BaseModel], loc: Loc) -> tuple[str, str]:
    """What is not there, and what to write."""
    part = next(_models(next(_inner_at(model, loc[:-1]), None)), None)
    field = _fields(part).get(str(loc[-1])) if part else None
    if field is None:
        return "is missing", ""
    told = (field.description or "").partition(".")[0]
    hint = f"write {loc[-1]}: {flow(field.examples[0])}" if field.examples else ""
    return f"is missing: {told[:1].lower()}{told[1:]}", hint


def _inner_at(annotation: Any, loc: Loc) -> Iterator[Any]:
    """The annotation of what stands at `loc` of a value of this annotation."""
    here = annotation
    for item in loc:
        here = next(_inner(here, item), None)
    yield here


def _inner(annotation: Any, item: str | int) -> Iterator[Any]:
    """What stands at key or index `item` of a value of this annotation."""
    part = next(_models(annotation), None)
    if part is not None:
        field = _fields(part).get(str(item))
        if field is not None:
            yield field.annotation
        return
    for option in _options(annotation):
        arguments = get_args(option)
        origin = get_origin(option)
        if origin is tuple and arguments:
            yield arguments[0]
        elif origin is not None and arguments:
            yield arguments[-1]


def _options(annotation: Any) -> Iterator[Any]:
    """`annotation` without Annotated, Optional and unions around it."""
    origin = get_origin(annotation)
    if hasattr(annotation, "__metadata__"):
        yield from _options(annotation.__origin__)
    elif origin in {Union, UnionType}:
        for argument in get_args(annotation):
            yield from _options(argument)
    else:
        yield annotation


def _models(annotation: Any) -> Iterator[type[BaseModel]]:
    for option in _options(annotation):
        if isinstance(option, type) and issubclass(option, BaseModel):
            yield option
