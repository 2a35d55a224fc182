"""The reference page of the handbook format, written from the models that read it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from opsbook.book.scalars import Guess, flow, plain
from opsbook.book.schema import KINDS, schemas

_HEAD = """\
# The handbook format

Written by `opsbook.book.reference` from the models that read the files; a test keeps it in step.

A handbook is a folder, `ops/` by default. Every file is optional but `opsbook.yaml`. Keys that are not listed here
are errors. Durations (`500ms`, `30s`, `1h30m`), sizes (`256Mi`, `1GiB`, `500M`) and percentages (`10%`) are written
with their unit. Words that YAML readers disagree on (`yes`, `10:30`, `0755`, dates) must be in quotes, as must every
number where text is expected, such as `version: "2.1"`. Anchors, aliases and tags are not part of the format.

In `command` and in the values of `env`, `{port}` stands for the instance's port and `{url:SERVICE}` for the address
at which another service is reached through the proxy: `http://HOST:PORT/PATH`, or `HOST:PORT` for tcp. In the values
of `env`, `{secret:NAME}` stands for a secret; a command is no place for one, since every user can read it in the
process list. `{{` and `}}` are braces.
"""

_NOTES = {
    "strategies": """\
What Kubernetes calls them is understood too: `type: RollingUpdate` with `rollingUpdate: {maxSurge: 1}`. A placement of
an environment may hold a strategy instead of its name, and `{type: canary, weight: 10%, duration: 30m}` is a canary
with a single step.

""",
    "pipeline": """\
The stages as people describe them. A strategy that a stage names is that of every service whose placement names none,
except of services without a port and those that keep data.

""",
    "checklist": """\
Task lists under the headings `## Pre-Deployment`, `## During Deployment` and `## Post-Deployment`; other headings and
text between them are free. An item is checked by a machine when it ends in `` `check: NAME` `` or has a fence below it,
indented, whose second word is `check`; every other item is signed by a person.

````markdown
- [ ] Error rates normal `check: error_rate`
- [ ] All tests passing `check: tests`
  ```bash check timeout=5m
  make test
  ```
- [ ] The storefront answers
  ```http check
  GET {url:web}/healthz
  HTTP 200
  ```
- [ ] Customer service knows of it
````

| check | what must be true |
|---|---|
| `book` | the handbook has no errors |
| `tests` | the command of the fence ends with 0 |
| `alerts` | no alert fires |
| `rollback` | there is a release to go back to |
| `health` | all instances are healthy |
| `error_rate` | it is below the limit of the strategy, or 0.1 % |
| `journal` | its chain verifies |

A `bash` or `sh` script stops at its first failing command.

""",
    "runbook": """\
The front matter of a page. A fenced block whose second word is a role may run; any other never does.

| role | languages | what it is |
|---|---|---|
| `precheck` | `bash` `sh` `http` `promql` | must hold, or nothing is done |
| `diagnose` | the same | is looked at first; may fail |
| `run` | `bash` `sh` | a step |
| `check` | as `precheck` | whether the step before it, or of `for=`, has worked |
| `rollback` | `bash` `sh` | undoes that step |
| `manual` | `text` | what a person does, and then says so |

| attribute | what it says |
|---|---|
| `id=NAME` | what the block is called; from its heading otherwise |
| `for=NAME` | the step that a check or rollback belongs to |
| `timeout=2m` | of one try; 5m otherwise |
| `risk=read\\|write\\|danger` | of a step: `danger` needs somebody else's approval each time |
| `approve=CONTACT` | who must approve before the step |
| `on-failure=rollback\\|stop\\|continue` | what becomes of the run; `rollback` otherwise |
| `idempotent` | it may be repeated, also by itself after a crash |
| `retry=5x10s` | tries and the pause between them |
| `sensitive` | its output is kept nowhere |
| `capture=NAME` | later blocks find its output in this variable |
| `on=host`, `on=instance`, `on=hosts:a,b,max-fail=1` | where it runs, when not where opsbook does |

Scripts find parameters in variables (`keep_mb` as `KEEP_MB`); text is never put into them. In PromQL `${NAME}` may
stand within a string in double quotes, in a URL behind the host. A PromQL check holds when it has an answer (a scalar:
when it is not 0), an `http` one when the status is that of the line `HTTP 200` below the request.

""",
    "postmortem": """\
The front matter of a post-mortem such as `incidents/2026-11-21-orders-fail.md`. What is wrong in one is a warning: it
never keeps the handbook from being read. Tasks below the heading *Actions* are promises:
`- [ ] TEXT (owner: ana, due: 2026-12-01)`.

""",
    "drill": """\
The front matter of a page of `runbooks/drills/`; its blocks set the fault up, inject it, verify that it is gone, and
undo it, in a scratch environment: see [drills](../drills.md).
""",
    "troubleshooting": """\
The front matter of a page of `troubleshooting/`. It is prose, and nothing of it runs; `opsbook diagnose SERVICE` lists
the pages that name the service.

""",
    "freezes": """\
A freeze has either `from` and `until`, or `weekly`. Where clocks are set back, it begins at the first of two equal
times and ends at the last; a time that is jumped over is the moment of the jump.

""",
    "alerts": """\
In a condition, named metrics stand for the series that are recorded of them (`error_rate` for `opsbook:error_rate`),
and `1%` and `500ms` are numbers; all else is PromQL. Every other file of `monitoring/` that has `groups:` is read as a
Prometheus rule file, unchanged. An alert with the name of a default one replaces it.

""",
    "notifications": """\
`match` is a mapping of labels, or a list of matchers as Alertmanager and `amtool` write them (`team=~"shop|web"`). The
first route that fits decides, and within it the first of its own routes; `continue: true` goes on to the next as well.
A channel's quiet hours and limits lie here, the channel itself and its templates in `opsbook.yaml`.

""",
    "roles": """\
Without this file, the `approvers` of a protected environment are approvers there, and nobody has another role.

""",
}


def reference() -> str:
    """The page as Markdown."""
    parts = [_HEAD]
    every = schemas()
    for kind, schema in every.items():
        file, _ = KINDS[kind]
        # A placement may hold a strategy; it is described once, where strategies are.
        elsewhere = every["strategies"].get("$defs", {}) if kind == "environment" else {}
        definitions = {name: part for name, part in schema.get("$defs", {}).items() if name not in elsewhere}
        parts.append(f"## `{file}`\n\n{schema['description']}\n\n{_NOTES.get(kind, '')}{_table(schema)}")
        parts += [
            f"### {file}: {name}\n\n{definition['description']}\n\n{_table(definition)}"
            for name, definition in _in_order_of_use(schema, definitions)
        ]
    return "\n".join(parts)


def _in_order_of_use(schema: Mapping[str, Any], definitions: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    waiting, seen = [schema], set[str]()
    while waiting:
        text = json.dumps(waiting.pop(0).get("properties", {}))
        for name in definitions:
            if f'"#/$defs/{name}"' in text and name not in seen:
                seen.add(name)
                waiting.append(definitions[name])
                yield name, definitions[name]


def _table(schema: Mapping[str, Any]) -> str:
    required = set(schema.get("required", ()))
    lines = ["| key | value | default | what it says |", "|---|---|---|---|"]
    for key, value in schema.get("properties", {}).items():
        default = "**required**" if key in required else _default(value)
        told = value.get("description", "")
        example = (
            f" Example: {_code(value['examples'][0])}" if value.get("examples") and _worth(value) else ""
        )
        cells = (f"`{key}`", _kind(value), default, f"{told}{example}".strip())
        lines.append(f"| {' | '.join(_cell(cell) for cell in cells)} |")
    return "\n".join(lines) + "\n"


def _worth(value: Mapping[str, Any]) -> bool:
    """An example that only repeats the default says nothing."""
    return bool(value["examples"][0] != value.get("default"))


def _kind(value: Mapping[str, Any]) -> str:
    if "$comment" in value:
        return str(value["$comment"])
    if "$ref" in value:
        return f"{value['$ref'].rpartition('/')[2]} (below)"
    if "anyOf" in value:
        return " or ".join(_kind(option) for option in value["anyOf"] if option.get("type") != "null")
    if "enum" in value:
        return " \\| ".join(f"`{choice}`" for choice in value["enum"])
    if "const" in value:
        return f"`{value['const']}`"
    match value.get("type"):
        case "array":
            inner = value.get("items")
            return f"list of {_kind(inner)}" if inner else "list"
        case "object":
            inner = value.get("additionalProperties") or next(
                iter(value.get("patternProperties", {}).values()), None
            )
            return f"mapping of name to {_kind(inner)}" if isinstance(inner, dict) else "mapping"
        case "integer":
            low, high = value.get("minimum"), value.get("maximum")
            bounds = f" {low} to {high}" if high is not None else f" from {low}" if low is not None else ""
            return f"whole number{bounds}"
        case "boolean":
            return "`true` \\| `false`"
        case "string" | None:
            return "text"
        case list() as kinds:
            return " or ".join(_kind({"type": kind}) for kind in kinds)
        case other:
            return str(other)


def _default(value: Mapping[str, Any]) -> str:
    default = value.get("default")
    return "" if default in (None, "", [], {}) else _code(default)


def _code(value: Any) -> str:
    return f"`{value if _reads_as_itself(value) else flow(value)}`"


def _reads_as_itself(value: Any) -> bool:
    """Text that needs no quotes when it stands alone after its key."""
    try:
        return isinstance(value, str) and isinstance(plain(value), str) and value[0] not in "{[\"'@`"
    except Guess:
        return False


def _cell(text: str) -> str:
    return text.replace("\n", " ")


if __name__ == "__main__":
    print(reference(), end="")
