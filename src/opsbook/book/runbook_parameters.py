"""The parameters of a runbook: typed, checked before anything sees them, and handed to scripts as variables only."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Collection, Mapping
from ipaddress import ip_address
from typing import Annotated, Literal, Self, TypeAlias

from pydantic import Field, model_validator

from opsbook.book import quantities
from opsbook.book.fields import Line, Part, matching, wrong
from opsbook.book.problems import did_you_mean
from opsbook.errors import Invalid

ParameterType = Literal[
    "string", "int", "number", "bool", "enum", "duration", "service", "environment", "host"
]  # fmt: skip
ParameterName = Annotated[
    str, matching(r"[a-z][a-z0-9_]{0,40}", "a name of lower-case letters, digits and underscores")
]
ParameterDefault: TypeAlias = str | bool | int | float

MOST_CHARACTERS = 4096
_INTEGER = re.compile(r"-?[0-9]{1,18}")
_NUMBER = re.compile(r"-?[0-9]{1,15}(\.[0-9]{1,15})?")
_HOST = re.compile(
    r"(?=.{1,253}\Z)[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?(\.[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?)*"
)
_RESERVED = re.compile(
    r"(LD|DYLD|BASH|PYTHON|GIT|SSH|OPSBOOK|LC|PERL|RUBY|NODE|JAVA)_?.*"
    r"|PATH|HOME|USER|LOGNAME|SHELL|ENV|IFS|CDPATH|GLOBIGNORE|SHELLOPTS|PS[0-4]|PROMPT_COMMAND|TMPDIR|LANG|TZ|EDITOR|PAGER"
)


def variable(name: str) -> str:
    """The environment variable of a parameter or of what a step captures: ``keep_mb`` is ``KEEP_MB``."""
    return name.upper()


def is_reserved(name: str) -> bool:
    """Whether the variable would change how programs run rather than tell them something."""
    return _RESERVED.fullmatch(variable(name)) is not None


class ParameterSpec(Part):
    """One parameter of a runbook. Scripts find it in the environment, under its name in capitals."""

    type: ParameterType = Field("string", description="What it may be.", examples=["host"])
    description: Line | None = Field(None, description="What it is for.", examples=["Which machine is full"])
    default: ParameterDefault | None = Field(
        None,
        description="Where nobody says otherwise. Without it the parameter is asked for.",
        examples=[500],
    )
    min: float | None = Field(None, description="The smallest number.", examples=[100])
    max: float | None = Field(None, description="The largest number.", examples=[5000])
    values: tuple[str, ...] | None = Field(
        None, min_length=1, description="Of an enum: what it may be.", examples=[["soft", "hard"]]
    )
    max_length: int = Field(
        200, ge=1, le=MOST_CHARACTERS, description="The most characters of a string.", examples=[64]
    )
    sensitive: bool = Field(False, description="It is shown nowhere.")

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if (self.values is not None) != (self.type == "enum"):
            wrong("values belong to an enum, and an enum has values", "type: enum, values: [soft, hard]")
        if (self.min is not None or self.max is not None) and self.type not in {"int", "number"}:
            wrong("min and max belong to an int or a number", at=("type",))
        if self.sensitive and self.default is not None:
            wrong("a default stands in the page for all to read", "leave the default out", at=("default",))
        if self.default is not None:
            try:
                checked_alone("default", self, spelled(self.default))
            except Invalid as error:
                wrong(error.message, error.hint, at=("default",))
        return self


def spelled(value: ParameterDefault) -> str:
    """A value as scripts see it: ``true``, ``500``."""
    return str(value).lower() if isinstance(value, bool) else str(value)


def checked(
    specs: Mapping[str, ParameterSpec],
    given: Mapping[str, str],
    *,
    services: Collection[str],
    environments: Collection[str],
) -> dict[str, str]:
    """The values of all parameters, as they were given or by their defaults.

    Raises:
        Invalid: one is unknown, missing, or not of its type; what was given is not repeated.
    """
    for name in given:
        if name not in specs:
            raise Invalid(f"there is no parameter {_shown(name)}", hint=did_you_mean(name[:60], specs))
    found = {}
    for name, spec in specs.items():
        if name in given:
            value = checked_alone(name, spec, given[name])
        elif spec.default is not None:
            value = spelled(spec.default)
        else:
            raise Invalid(f"the parameter {name} is missing", hint=f"--param {name}=...", where=name)
        known = services if spec.type == "service" else environments if spec.type == "environment" else None
        if known is not None and value not in known:
            raise Invalid(
                f"{name}: there is no {spec.type} {_shown(value)}",
                hint=did_you_mean(value, known),
                where=name,
            )
        found[name] = value
    return found


def checked_alone(name: str, spec: ParameterSpec, value: str) -> str:
    """One value by its own type, whatever the handbook knows. Raises Invalid."""

    def refuse(message: str, hint: str = "") -> Invalid:
        return Invalid(f"{name}: {message}", hint=hint, where=name)

    if not isinstance(value, str):
        raise refuse("expected text")
    if len(value) > (most := spec.max_length if spec.type == "string" else 253):
        raise refuse(f"{len(value)} characters are too many; {most} may be", "max_length")
    if odd := next((c for c in value if unicodedata.category(c) in {"Cc", "Cf", "Cs", "Zl", "Zp"}), None):
        raise refuse(f"the character U+{ord(odd):04X} may not be in it", "one line of text that can be seen")
    numeric = spec.type in {"int", "number"}
    if unicodedata.normalize("NFKC", value[:1]) == "-" and not (
        numeric and spec.min is not None and spec.min < 0
    ):
        raise refuse("it may not begin with -", "programs would take it for an option")
    if numeric:
        _check_number(spec, value, refuse)
    elif what := _misfit(spec, value):
        raise refuse(f"expected {what}")
    return value


def _check_number(spec: ParameterSpec, value: str, refuse: Callable[[str], Invalid]) -> None:
    pattern, word = (_INTEGER, "a whole number") if spec.type == "int" else (_NUMBER, "a number")
    if not pattern.fullmatch(value):
        raise refuse(f"expected {word}")
    if spec.min is not None and float(value) < spec.min:
        raise refuse(f"{spec.min:g} at least")
    if spec.max is not None and float(value) > spec.max:
        raise refuse(f"{spec.max:g} at most")


def _misfit(spec: ParameterSpec, value: str) -> str:
    """What was expected instead; empty when it is that."""
    match spec.type:
        case "bool":
            return "" if value in {"true", "false"} else "true or false"
        case "enum":
            values = spec.values or ()
            return "" if value in values else f"one of {', '.join(values)}"
        case "duration":
            try:
                quantities.duration(value)
            except ValueError:
                return quantities.DURATION
        case "host":
            return "" if _is_host(value) else "a host name or an IP address"
    return ""


def _is_host(value: str) -> bool:
    if _HOST.fullmatch(value):
        return True
    try:
        return "%" not in value and bool(ip_address(value))
    except ValueError:
        return False


def _shown(name: str) -> str:
    plain = "".join(c if c.isprintable() else "?" for c in name[:40])
    return f'"{plain}{"…" if len(name) > 40 else ""}"'
