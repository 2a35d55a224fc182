"""The types that fields of the models have: checked once, described once for schemas and reference.

Each refuses with what it expected; what was found instead, and where, is added by `opsbook.book.validation`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Annotated, Any, NoReturn, TypeVar

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    GetJsonSchemaHandler,
    WithJsonSchema,
)  # fmt: skip
from pydantic_core import CoreSchema, PydanticCustomError

from opsbook.book import quantities
from opsbook.book.scalars import quoted
from opsbook.book.templates import KNOWN, placeholders


class Part(BaseModel):
    """A piece of a handbook: frozen, and without keys that nobody reads."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


P = TypeVar("P", bound=Part)


def merged(base: P, override: P | None) -> P:
    """`base` with every key that `override` writes."""
    if override is None:
        return base
    return base.model_copy(update={name: getattr(override, name) for name in override.model_fields_set})


def expected(what: str, hint: str = "") -> NoReturn:
    """Refuse a value: `what` completes "expected ..."."""
    raise PydanticCustomError("expected", "{what}", {"what": what, "hint": hint})


def wrong(message: str, hint: str = "", *, at: tuple[str | int, ...] = ()) -> NoReturn:
    """Refuse a combination: `message` is the whole sentence, `at` the key below the model that it is about."""
    raise PydanticCustomError("wrong", "{message}", {"message": message, "hint": hint, "at": at})


def _parsed(
    parse: Callable[[str], Any], what: str, unit: str = "", *, numbers: tuple[type, ...] = ()
) -> BeforeValidator:
    """A validator that parses strings; a bare number is refused with the unit it may have meant."""

    def check(value: Any) -> Any:
        if isinstance(value, numbers) and not isinstance(value, bool):
            value = str(value)
        if isinstance(value, int | float) and not isinstance(value, bool) and unit:
            expected(what, f"write {value}{unit}")
        if not isinstance(value, str):
            expected(what)
        try:
            return parse(value)
        except ValueError:
            expected(what)

    return BeforeValidator(check)


def matching(pattern: str, what: str, hint: Callable[[str], str] = lambda _: "") -> Any:
    compiled = re.compile(pattern)

    def check(value: Any) -> Any:
        if isinstance(value, str) and not compiled.fullmatch(value):
            expected(what, hint(value))
        return value

    return BeforeValidator(check)


def _schema(word: str, kind: str | list[str], description: str, *examples: Any) -> WithJsonSchema:
    """JSON Schema has no such types; `word` is what the reference calls it."""
    return WithJsonSchema(
        {"type": kind, "$comment": word, "description": description, "examples": list(examples)}
    )


def _as_name(value: str) -> str:
    name = re.sub(r"[^a-z0-9]+", "-", value.lower()).strip("-")[:41]
    return f'write "{name}"' if re.fullmatch(NAME_PATTERN, name) else ""


NAME_PATTERN = r"[a-z][a-z0-9-]{0,40}"
NAME = "a name of lower-case letters, digits and dashes, beginning with a letter, at most 41 long"

Name = Annotated[
    str, matching(NAME_PATTERN, NAME, _as_name), Field(json_schema_extra={"pattern": f"^{NAME_PATTERN}$"})
]

Seconds = Annotated[
    float,
    _parsed(quantities.duration, quantities.DURATION, "s"),
    _schema("duration", "string", quantities.DURATION, "500ms", "30s", "1h30m"),
]
Bytes = Annotated[
    int,
    _parsed(quantities.size, quantities.SIZE, "Mi"),
    _schema("size", "string", quantities.SIZE, "256Mi", "1GiB", "500M"),
]
Ratio = Annotated[
    float,
    _parsed(quantities.percentage, quantities.PERCENTAGE, "%"),
    _schema("percentage", "string", quantities.PERCENTAGE, "1%", "10%", "0.5%"),
]
Cores = Annotated[
    float,
    _parsed(quantities.cpu, quantities.CPU, numbers=(int, float)),
    _schema("cores", ["string", "number"], quantities.CPU, "500m", 2, 1.5),
]


def _count_or_share(value: Any) -> quantities.CountOrShare:
    if not isinstance(value, int | str) or isinstance(value, bool):
        expected(quantities.COUNT_OR_SHARE)
    try:
        return quantities.count_or_share(value)
    except ValueError:
        expected(quantities.COUNT_OR_SHARE)


CountOrShare = Annotated[
    quantities.CountOrShare,
    BeforeValidator(_count_or_share),
    _schema("count or percentage", ["integer", "string"], quantities.COUNT_OR_SHARE, 1, "25%"),
]


def _seconds_or_none(value: Any) -> float | None:
    if value == "none":
        return None
    try:
        return quantities.duration(value)
    except (ValueError, TypeError):
        hint = f"write {value}s" if isinstance(value, int | float) and not isinstance(value, bool) else ""
        expected(f'{quantities.DURATION}, or "none"', hint)


SecondsOrNone = Annotated[
    float | None,
    BeforeValidator(_seconds_or_none),
    _schema(
        "duration", "string", f'{quantities.DURATION}, or "none" for streams without an end', "15s", "none"
    ),
]

Port = Annotated[int, Field(ge=1, le=65535)]

UrlPath = Annotated[
    str,
    matching(
        r"/[^\s?#{}]*",
        "a path that begins with /",
        lambda v: "" if v.startswith("/") else f"write {quoted('/' + v)}",
    ),
]
ProbePath = Annotated[str, matching(r"/[^\s#{}]*", "a path that begins with /")]
Host = Annotated[
    str,
    matching(
        r"(?=.{1,253}$)[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?(\.[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?)*",
        "a host name such as shop.example.com, without a scheme, a port or a wildcard",
    ),
]


def _listen_address(value: Any) -> Any:
    if isinstance(value, str):
        try:
            ip_address(value)
        except ValueError:
            expected("an IP address such as 127.0.0.1")
    return value


ListenAddress = Annotated[str, BeforeValidator(_listen_address)]
Version = Annotated[
    str,
    matching(
        r"[A-Za-z0-9][A-Za-z0-9._/+@:-]{0,127}", "a version, a git reference or a digest, without spaces"
    ),
]
Image = Annotated[
    str, matching(r"[a-z0-9][A-Za-z0-9._/:@-]{0,254}", "an image such as registry.example.com/shop/web")
]
User = Annotated[str, matching(r"[a-z_][a-z0-9_-]{0,31}|[0-9]{1,9}", "a user name")]
Line = Annotated[str, matching(r"[^\r\n]+", "one line of text")]
VariableName = Annotated[
    str, matching(r"[A-Za-z_][A-Za-z0-9_]*", "a variable name of letters, digits and underscores")
]


def _with_placeholders(value: Any) -> Any:
    if isinstance(value, str):
        if "\0" in value:
            expected("text without NUL characters")
        try:
            for _ in placeholders(value):
                pass
        except ValueError as error:
            brace = str(error)
            doubled = brace.replace("{", "{{").replace("}", "}}")
            wrong(f"{brace} is no placeholder; expected {KNOWN}", f"for braces as they are write {doubled}")
    return value


Template = Annotated[str, BeforeValidator(_with_placeholders)]
"""Text that may hold placeholders."""


def _secrets_only(value: Any) -> Any:
    if isinstance(value, str) and any(placeholder.kind != "secret" for placeholder in placeholders(value)):
        wrong("only {secret:NAME} has a meaning here")
    return value


SecretText = Annotated[Template, BeforeValidator(_secrets_only)]
"""Text that may hold {secret:NAME}."""


def _nothing_is_empty(value: Any) -> Any:
    """``web:`` with nothing after it means an empty mapping, as people write it."""
    return {} if value is None else value


OrEmpty = BeforeValidator(_nothing_is_empty)


@dataclass(frozen=True, slots=True)
class Or:
    """In an Annotated: another form that the schema tells of and a validator takes."""

    schema: Mapping[str, Any]

    def __get_pydantic_json_schema__(self, core: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        return {"anyOf": [dict(self.schema), handler(core)]}


Variables = Annotated[Mapping[VariableName, Template], OrEmpty]


def _without_secrets(value: Any) -> Any:
    if isinstance(value, str) and any(placeholder.kind == "secret" for placeholder in placeholders(value)):
        wrong("a secret in a command can be read by every user of the machine", "hand it over in env")
    return value


def _with_port_only(value: Any) -> Any:
    if isinstance(value, str) and any(placeholder.kind != "port" for placeholder in placeholders(value)):
        wrong("only {port} has a meaning in a health check", "the service's variables are set for it too")
    return value


Command = Annotated[tuple[Annotated[Template, AfterValidator(_without_secrets)], ...], Field(min_length=1)]
"""A program and its arguments, with placeholders."""
PortCommand = Annotated[tuple[Annotated[Template, AfterValidator(_with_port_only)], ...], Field(min_length=1)]
"""A program and its arguments, with ``{port}``."""
PlainCommand = Annotated[tuple[str, ...], Field(min_length=1)]
