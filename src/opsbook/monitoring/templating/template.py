"""A parsed template, and its expansion with the values of one alert."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any
from urllib.parse import urlsplit

from opsbook.errors import OpsbookError
from opsbook.monitoring.templating import functions
from opsbook.monitoring.templating.model import (
    Branch,
    Call,
    Chain,
    Constant,
    Dot,
    Function,
    Jump,
    Node,
    Operand,
    Pipeline,
    Print,
    Sample,
    TemplateError,
    Text,
    Variable,
)  # fmt: skip
from opsbook.monitoring.templating.parser import Body, parse
from opsbook.monitoring.templating.printing import spelled

Query = Callable[[str], Sequence[Sample]]

PREDEFINED = ("labels", "externalLabels", "externalURL", "value")
_MOST_STEPS = 100_000  # nodes that one expansion may visit
_DEEPEST = 50  # templates within each other


def _no_query(expression: str) -> Sequence[Sample]:
    raise TemplateError("queries cannot be asked here", where=expression)


@dataclass(frozen=True, slots=True, kw_only=True)
class Context:
    """What a template is told.

    Args:
        labels: of the alert's series.
        value: what the expression gave.
        query: answers PromQL as of the moment of the evaluation.
        now: that moment, epoch seconds.
        external_labels, external_url: of this opsbook.
    """

    labels: Mapping[str, str] = field(default_factory=dict)
    value: float = 0.0
    query: Query = _no_query
    now: float = 0.0
    external_labels: Mapping[str, str] = field(default_factory=dict)
    external_url: str = ""


@dataclass(frozen=True, slots=True)
class Template:
    """A template that has been parsed; `plain` when there is nothing in it to expand."""

    text: str
    plain: bool
    bodies: Mapping[str, Body]

    def expand(self, context: Context) -> str:
        """The text with the values of `context`.

        Raises:
            TemplateError: a function that refuses its arguments, a query that fails, no end in sight.
        """
        if self.plain:
            return self.text
        try:
            return _Expansion(self.bodies, context).text()
        except RecursionError:
            raise TemplateError("templates within templates without an end") from None


@lru_cache(maxsize=4096)
def parse_template(text: str) -> Template:
    """A template as Prometheus understands it.

    Raises:
        TemplateError: with the line.
    """
    if "{{" not in text:
        return Template(text, True, {})
    return Template(text, False, parse(text, functions.NAMES, PREDEFINED))


class _Jumped(Exception):
    """``break`` or ``continue`` on its way to its loop."""

    def __init__(self, kind: str) -> None:
        super().__init__(kind)
        self.kind = kind


class _Expansion:
    def __init__(self, bodies: Mapping[str, Body], context: Context) -> None:
        self._bodies = bodies
        self._context = context
        self._parts: list[str] = []
        self._steps = 0
        self._depth = 0
        self._root = {
            "Labels": context.labels,
            "ExternalLabels": context.external_labels,
            "ExternalURL": context.external_url,
            "Value": context.value,
        }
        given = (context.labels, context.external_labels, context.external_url, context.value)
        self._scopes: list[tuple[str, Any]] = [("", self._root), *zip(PREDEFINED, given, strict=True)]

    def text(self) -> str:
        self._walk(self._bodies[""], self._root)
        return "".join(self._parts)

    def _walk(self, nodes: Body, dot: Any) -> None:
        scope = len(self._scopes)
        for node in nodes:
            self._step()
            self._visit(node, dot)
        del self._scopes[scope:]

    def _step(self) -> None:
        self._steps += 1
        if self._steps > _MOST_STEPS:
            raise TemplateError("the template does not come to an end")

    def _visit(self, node: Node, dot: Any) -> None:
        match node:
            case Text():
                self._parts.append(node.text)
            case Print():
                value = self._pipeline(node.pipeline, dot)
                if not node.pipeline.variables:
                    self._parts.append(spelled(value))
            case Branch(kind="range"):
                self._range(node, dot)
            case Branch():
                scope = len(self._scopes)
                value = self._pipeline(node.pipeline, dot)
                if functions.truth(value):
                    self._walk(node.body, value if node.kind == "with" else dot)
                else:
                    self._walk(node.otherwise, dot)
                del self._scopes[scope:]
            case Call():
                self._call(node, dot)
            case Jump():
                raise _Jumped(node.kind)

    def _range(self, node: Branch, dot: Any) -> None:
        scope = len(self._scopes)
        names = node.pipeline.variables
        entries = _entries(self._operands(node.pipeline, dot))
        if not entries:
            self._walk(node.otherwise, dot)
            return
        for key, value in entries:
            self._step()
            bound = (value,) if len(names) == 1 else (key, value)
            if node.pipeline.declares:
                self._scopes += list(zip(names, bound, strict=False))
            else:
                for name, each in zip(names, bound, strict=False):
                    self._assign(name, each)
            try:
                self._walk(node.body, value)
            except _Jumped as jumped:
                if jumped.kind == "break":
                    break
            finally:
                del self._scopes[scope:]

    def _call(self, node: Call, dot: Any) -> None:
        if node.name not in self._bodies:
            raise TemplateError(f"template {node.name!r} not defined")
        self._depth += 1
        if self._depth > _DEEPEST:
            raise TemplateError(f"more than {_DEEPEST} templates within each other")
        handed = self._pipeline(node.pipeline, dot) if node.pipeline else None
        before, self._scopes = self._scopes, [("", handed)]
        self._walk(self._bodies[node.name], handed)
        self._scopes = before
        self._depth -= 1

    # --- values ------------------------------------------------------------------------------------------------

    def _pipeline(self, pipeline: Pipeline, dot: Any) -> Any:
        value = self._operands(pipeline, dot)
        for name in pipeline.variables:
            if pipeline.declares:
                self._scopes.append((name, value))
            else:
                self._assign(name, value)
        return value

    def _operands(self, pipeline: Pipeline, dot: Any) -> Any:
        value: Any = None
        for index, command in enumerate(pipeline.commands):
            value = self._command(command, dot, (value,) if index else ())
        return value

    def _command(self, command: tuple[Operand, ...], dot: Any, last: tuple[Any, ...]) -> Any:
        self._step()
        first, *rest = command
        if not isinstance(first, Function):
            if rest or last:
                raise TemplateError("can't give arguments to something that is no function")
            return self._value(first, dot)
        if first.name in ("and", "or"):  # the rest is not looked at once it is decided
            value: Any = last[0] if last and not rest else None
            for operand in rest:
                value = self._value(operand, dot)
                if functions.truth(value) == (first.name == "or"):
                    return value
            return last[0] if last else value
        return self._invoke(first.name, [*(self._value(operand, dot) for operand in rest), *last])

    def _value(self, operand: Operand, dot: Any) -> Any:
        match operand:
            case Constant():
                return operand.value
            case Dot():
                return _field(dot, operand.fields)
            case Variable():
                return _field(self._variable(operand.name), operand.fields)
            case Chain():
                return _field(self._pipeline(operand.pipeline, dot), operand.fields)
            case Function():
                return self._invoke(operand.name, [])

    def _variable(self, name: str) -> Any:
        for known, value in reversed(self._scopes):
            if known == name:
                return value
        raise TemplateError(f"undefined variable ${name}")

    def _assign(self, name: str, value: Any) -> None:
        for index in range(len(self._scopes) - 1, -1, -1):
            if self._scopes[index][0] == name:
                self._scopes[index] = (name, value)
                return

    def _invoke(self, name: str, values: list[Any]) -> Any:
        if name in functions.TEXTUAL and not all(isinstance(value, str) for value in values):
            raise TemplateError(f"error calling {name}: expected text")
        try:
            match name:
                case "query":
                    return list(self._context.query(*values))
                case "now":
                    return float(self._context.now)
                case "externalURL":
                    return self._context.external_url
                case "pathPrefix":
                    return urlsplit(self._context.external_url).path
            return functions.FUNCTIONS[name](*values)
        except TemplateError as error:
            raise TemplateError(f"error calling {name}: {error.message}", hint=error.hint) from error
        except OpsbookError as error:
            raise TemplateError(f"error calling {name}: {error}", hint=error.hint) from error
        except (TypeError, AttributeError, IndexError) as error:
            raise TemplateError(f"error calling {name}: wrong arguments") from error


def _entries(over: Any) -> list[tuple[Any, Any]]:
    """What `range` goes over, with the index or key of each."""
    if over is None:
        return []
    if isinstance(over, Mapping):
        return [(key, over[key]) for key in sorted(over)]
    if isinstance(over, int) and not isinstance(over, bool):
        return [(index, index) for index in range(min(over, _MOST_STEPS))]
    if isinstance(over, Sequence) and not isinstance(over, str):
        return list(enumerate(over))
    raise TemplateError(f"range can't iterate over {spelled(over)}")


def _field(value: Any, fields: tuple[str, ...]) -> Any:
    for name in fields:
        if isinstance(value, Mapping):
            value = value.get(name, "")
        elif isinstance(value, Sample) and name in ("Labels", "Value"):
            value = getattr(value, name)
        else:
            raise TemplateError(f"can't evaluate field {name}")
    return value
