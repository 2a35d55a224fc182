"""One fence with a role: its words and its content, read strictly, since it will run."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, cast

from opsbook.book import quantities
from opsbook.book.fences import Fenced
from opsbook.book.problems import did_you_mean
from opsbook.book.runbook_filling import filled_promql, filled_url, names_in
from opsbook.book.runbook_parameters import ParameterSpec, checked_alone, is_reserved
from opsbook.book.runbooks import Block, HttpCheck, Language, Place, Retry, Risk, Role
from opsbook.errors import OpsbookError

LONGEST_SCRIPT = 100_000  # a program's argument may have 128 KiB
LONGEST_TIMEOUT = 86_400.0
_SHELLS = ("bash", "sh")
_LOOKS = ("bash", "sh", "http", "promql")
_TEXTS = ("text", "txt", "markdown", "md")
_NAME = re.compile(r"[a-z][a-z0-9-]{0,40}")
_CAPTURE = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,40}")
_RETRY = re.compile(r"([0-9]{1,3})(?:x([0-9a-z.]+))?")
_REQUEST = re.compile(r"(GET|HEAD) +(\S+)")
_ANSWER = re.compile(r"HTTP +([1-5][0-9][0-9])")

# Which roles may stand below a heading that begins so; the nearest such heading counts.
_HEADINGS: tuple[tuple[str, frozenset[str]], ...] = (
    ("roll back", frozenset({"rollback", "manual"})),
    ("rollback", frozenset({"rollback", "manual"})),
    ("undo", frozenset({"rollback", "manual"})),
    ("diagnose", frozenset({"diagnose", "precheck"})),
    ("diagnosis", frozenset({"diagnose", "precheck"})),
    ("precheck", frozenset({"precheck"})),
    ("before you begin", frozenset({"precheck"})),
    ("verify", frozenset({"check", "manual"})),
    ("check", frozenset({"check", "precheck", "manual"})),
    ("escalat", frozenset({"manual"})),
    ("example", frozenset()),
    ("examples", frozenset()),
)
_BEGINNINGS = frozenset({"roll back", "rollback", "escalat"})  # the others begin the names of steps too


class Refused(Exception):
    """Why the fence cannot be trusted to run."""

    def __init__(self, line: int, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.line, self.message, self.hint = line, message, hint


def read_block(fence: Fenced, role: str, step: str, taken: Mapping[str, int], risk: Risk) -> Block:
    """The block.

    Args:
        role: its second word.
        step: the nearest step before it, which checks and rollbacks belong to where they do not say so.
        taken: the ids before it with their lines.
        risk: of what changes something and does not say.

    Raises:
        Refused: with the line and the way out.
    """
    try:
        language, _, *settings = shlex.split(fence.info)
    except ValueError:
        raise Refused(
            fence.line, "a quotation mark behind the role is never closed", "write key=value"
        ) from None
    given = _settings(fence.line, settings, role)
    _under(fence, role)
    language = "text" if role == "manual" else language.lower()
    allowed = _SHELLS if role in {"run", "rollback"} else ("text",) if role == "manual" else _LOOKS
    if language not in allowed:
        hint = did_you_mean(language, allowed)
        raise Refused(fence.line, f"a {role} block is written in {' or '.join(allowed)}", hint)
    values: dict[str, Any] = {
        _FIELDS.get(name, name.replace("-", "_")): value for name, value in given.items()
    }
    if role in {"precheck", "diagnose", "check"} and values.get("risk", "read") != "read":
        raise Refused(
            fence.line, f"a {role} block only looks: risk={values['risk']} cannot be", "make it a run block"
        )
    if role in {"check", "rollback"}:
        values.setdefault("for_", step)
        if not values["for_"]:
            raise Refused(
                fence.line, f"the {role} belongs to no step", "put it below a run block, or write for=ID"
            )
    title = _title(fence.headings)
    values["id"] = _identity(fence.line, values, role, title, taken)
    if role in {"run", "rollback"}:
        values.setdefault("risk", risk)
    block = Block(
        role=cast("Role", role), language=cast("Language", language), script=fence.content, line=fence.line,
        title=title, **values,
    )  # fmt: skip
    return _sound(block, fence)


def _settings(line: int, settings: list[str], role: str) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for setting in settings:
        name, equals, value = setting.partition("=")
        if name not in ATTRIBUTES:
            raise Refused(line, f'no attribute is called "{name[:40]}"', did_you_mean(name, ATTRIBUTES))
        if name in found:
            raise Refused(line, f"the attribute {name} is written twice", "keep one of them")
        roles, read, expected = ATTRIBUTES[name]
        if role not in roles:
            raise Refused(
                line, f"{name} has no meaning for a {role} block", f"for: {', '.join(sorted(roles))}"
            )
        try:
            found[name] = read(value if equals else None)
        except (ValueError, OpsbookError):
            raise Refused(
                line, f"{name}: expected {expected}", f"{name}={_EXAMPLES.get(name, '')}".rstrip("=")
            ) from None
    return found


def _under(fence: Fenced, role: str) -> None:
    for heading in reversed(fence.headings):
        words = re.sub(r"[^a-z]+", " ", re.sub(r"^[0-9.]+\s*", "", heading.casefold())).strip()
        for begin, roles in _HEADINGS:
            if words == begin or (words.startswith(begin) and begin in _BEGINNINGS):
                if role not in roles:
                    may = " or ".join(sorted(roles)) or "nothing that runs"
                    raise Refused(
                        fence.line, f'a {role} block stands under "{heading[:60]}"', f"expected there: {may}"
                    )
                return


def _title(headings: tuple[str, ...]) -> str:
    """The nearest heading that names the step rather than what kind of block follows."""
    for heading in reversed(headings):
        plain = re.sub(r"^[0-9]+[.)]\s*", "", heading)
        if plain.casefold() not in {"verify", "check", "roll back", "rollback", "steps", "undo"}:
            return plain
    return ""


def _identity(line: int, values: Mapping[str, Any], role: str, title: str, taken: Mapping[str, int]) -> str:
    if "id" in values:
        name = str(values["id"])
        if name in taken:
            raise Refused(
                line,
                f'the id "{name}" is written twice, first on line {taken[name]}',
                "ids are unique in a page",
            )
        return name
    slug = re.sub(r"[^a-z0-9]+", "-", title.casefold()).strip("-")[:28].strip("-")
    if "for_" in values:
        base = f"{role}-{values['for_']}"[:36]
    elif role in {"run", "manual"} and slug and slug[0].isalpha():
        base = slug
    else:
        base = role
    name, number = base, 1
    while name in taken:
        number += 1
        name = f"{base}-{number}"
    return name


def _sound(block: Block, fence: Fenced) -> Block:
    """What its content and its attributes together allow."""
    line = block.line
    if not block.script.strip():
        raise Refused(line, "the block is empty", "a block that does nothing is taken out")
    if "\0" in block.script or len(block.script.encode("utf-8", "surrogatepass")) > LONGEST_SCRIPT:
        raise Refused(
            line, f"the script has a NUL, or more than {LONGEST_SCRIPT // 1000} kB", "call a file of yours"
        )
    if block.sensitive and block.capture:
        raise Refused(
            line, "what is captured is kept, and what is sensitive must not be", "leave one of them out"
        )
    if block.on.kind != "local" and block.language not in _SHELLS:
        raise Refused(line, f"a {block.language} block runs where opsbook is", "leave on= out")
    if block.role in {"run", "rollback"} and block.retry.times > 1 and not block.idempotent:
        raise Refused(line, "only what is idempotent may be tried again", "add idempotent, if it is")
    if block.language == "http":
        return _with_request(block)
    if block.language == "promql":
        _parses(block)
    return block


def _with_request(block: Block) -> Block:
    lines = [line.strip() for line in block.script.splitlines() if line.strip()]
    request = _REQUEST.fullmatch(lines[0])
    answer = _ANSWER.fullmatch(lines[1]) if len(lines) == 2 else None
    if request is None or len(lines) > 2 or (len(lines) == 2 and answer is None):
        raise Refused(
            block.line, "expected one request, and under it the status of its answer", "GET {url:web}/healthz"
        )
    try:
        filled_url(request[2], dict.fromkeys(names_in(request[2]), "x"))
    except OpsbookError as error:
        raise Refused(block.line, error.message, error.hint) from None
    return replace(block, request=HttpCheck(request[1], request[2], int(answer[1]) if answer else 200))


def _parses(block: Block) -> None:
    from opsbook.promql.parsing import parse

    try:
        parse(filled_promql(block.script, dict.fromkeys(names_in(block.script), "x")))
    except OpsbookError as error:
        raise Refused(block.line, f"the query does not parse: {error.message}", error.hint) from None


# --- attributes


def _name(value: str | None) -> str:
    if value is None or not _NAME.fullmatch(value):
        raise ValueError
    return value


def _seconds(value: str | None) -> float:
    seconds = quantities.duration(value or "")
    if not 0 < seconds <= LONGEST_TIMEOUT:
        raise ValueError
    return seconds


def _one_of(*words: str) -> Callable[[str | None], str]:
    def read(value: str | None) -> str:
        if value not in words:
            raise ValueError
        return value

    return read


def _flag(value: str | None) -> bool:
    if value not in {None, "true", "false"}:
        raise ValueError
    return value != "false"


def _retry(value: str | None) -> Retry:
    match = _RETRY.fullmatch(value or "")
    if match is None or not 1 <= int(match[1]) <= 100:
        raise ValueError
    return Retry(int(match[1]), quantities.duration(match[2]) if match[2] else 1.0)


def _capture(value: str | None) -> str:
    if value is None or not _CAPTURE.fullmatch(value) or is_reserved(value):
        raise ValueError
    return value.upper()


def _place(value: str | None) -> Place:
    if value in {"host", "instance", "local"}:
        return Place(cast("Any", value))
    kind, _, names = (value or "").partition(":")
    hosts = tuple(names.split(","))
    if kind != "hosts" or len(set(hosts)) != len(hosts):
        raise ValueError
    most = 0
    if hosts and (found := re.fullmatch(r"max-fail=([0-9]{1,3})", hosts[-1])):
        hosts, most = hosts[:-1], int(found[1])
    for host in hosts:
        checked_alone("host", ParameterSpec(type="host"), host or "-")
    return Place("hosts", hosts, most)


_ALL = frozenset({"precheck", "diagnose", "run", "check", "rollback", "manual"})
_RUNS = _ALL - {"manual"}
ATTRIBUTES: dict[str, tuple[frozenset[str], Callable[[str | None], Any], str]] = {
    "id": (_ALL, _name, "a name of lower-case letters, digits and dashes"),
    "for": (frozenset({"check", "rollback"}), _name, "the id of a step"),
    "timeout": (_RUNS, _seconds, "a duration of at most a day, such as 2m"),
    "risk": (_RUNS, _one_of("read", "write", "danger"), "read, write or danger"),
    "approve": (frozenset({"run", "manual"}), _name, "a contact of the handbook"),
    "on-failure": (
        frozenset({"run", "manual"}),
        _one_of("rollback", "stop", "continue"),
        "rollback, stop or continue",
    ),
    "idempotent": (frozenset({"run", "rollback"}), _flag, "nothing behind it"),
    "retry": (_RUNS, _retry, "times and pause, such as 5x10s"),
    "sensitive": (_RUNS, _flag, "nothing behind it"),
    "capture": (
        frozenset({"precheck", "diagnose", "run", "check"}),
        _capture,
        "the name of a variable that is not taken",
    ),
    "on": (_RUNS, _place, "host, instance, or hosts:a,b"),
}
"""Of each attribute: the roles that it is for, what reads it, and what is expected."""

_EXAMPLES = {
    "id": "vacuum", "for": "vacuum", "timeout": "2m", "risk": "write", "approve": "team-lead", "on-failure": "stop",
    "retry": "5x10s", "capture": "BEFORE", "on": "hosts:web-1,web-2,max-fail=1",
}  # fmt: skip
_FIELDS = {"for": "for_"}
