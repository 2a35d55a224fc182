"""Running one block where it is meant to run, and hearing what it says."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from opsbook.book.runbook_filling import filled_promql, filled_url
from opsbook.book.runbooks import Block
from opsbook.errors import Failed, OpsbookError
from opsbook.promql.model import Result, Scalar, Vector
from opsbook.response.runbooks.model import Run
from opsbook.response.runbooks.site import Site
from opsbook.world.commands.many import ManyRunner
from opsbook.world.commands.words import Outcome, Runner, Script

_HERE = {"localhost", "127.0.0.1", "::1"}
_URL = re.compile(r"\{url:([a-z][a-z0-9-]*)\}")
_MOST_SERIES = 20


@dataclass(frozen=True, slots=True)
class Execution:
    """Executes blocks. Nothing of a parameter or of an output is ever put into the text of a script."""

    site: Site

    def execute(
        self,
        block: Block,
        run: Run,
        variables: Mapping[str, str],
        heard: Callable[[bytes], None],
        cancelled: Callable[[], bool],
    ) -> Outcome:
        """The outcome of one try; what cannot even begin is an outcome too."""
        began = self.site.clock.monotonic()
        try:
            if block.language == "promql":
                found = self._ask(block, variables, heard)
            elif block.language == "http":
                found = self._request(block, run, variables, heard)
            else:
                script = Script(
                    "sh" if block.language == "sh" else "bash",
                    block.script,
                    {**variables, "OPSBOOK_RUN": run.id, "OPSBOOK_PAGE": run.page},
                    block.timeout,
                    token_of(run, block),
                )
                return self._runner(block, run).run(script, heard, cancelled)
        except OpsbookError as error:
            found = Outcome(None, problem=error.message)
        seconds = self.site.clock.monotonic() - began
        return Outcome(found.code, found.output, seconds=seconds, problem=found.problem)

    def _runner(self, block: Block, run: Run) -> Runner:
        match block.on.kind:
            case "host":
                return self._on(run.params["host"])
            case "hosts":
                return ManyRunner({host: self._on(host) for host in block.on.hosts}, block.on.max_fail)
            case "instance":
                return self._beside(run.params["environment"], run.params["service"])
        return self.site.places.here()

    def _on(self, host: str) -> Runner:
        return self.site.places.here() if host in _HERE else self.site.places.on(host)

    def _beside(self, environment: str, service: str) -> Runner:
        for instance in self.site.instances(environment, service):
            if instance.alive and instance.pid is not None:
                return self.site.places.beside(instance.pid)
        raise Failed(
            f"no instance of {service} runs in {environment}", hint=f"opsbook status --in {environment}"
        )

    def _ask(self, block: Block, variables: Mapping[str, str], heard: Callable[[bytes], None]) -> Outcome:
        if self.site.queries is None:
            raise Failed("there is nobody to ask for metrics")
        moment = self.site.moment or self.site.clock.now
        result = self.site.queries.instant(filled_promql(block.script, variables), int(moment() * 1000))
        holds, lines = answer(result)
        heard("".join(f"{line}\n" for line in lines).encode())
        return Outcome(0, "\n".join(lines)) if holds else Outcome(None, "\n".join(lines), problem=lines[0])

    def _request(
        self, block: Block, run: Run, variables: Mapping[str, str], heard: Callable[[bytes], None]
    ) -> Outcome:
        if self.site.status_of is None or block.request is None:
            raise Failed("there is nobody to send requests")
        url = _URL.sub(
            lambda match: self._url(run, match[1]), filled_url(block.request.url, variables), count=1
        )
        status = self.site.status_of(block.request.method, url, timeout=min(block.timeout, 30.0))
        said = f"{block.request.method} {url} answers {status}"
        heard(f"{said}\n".encode())
        wanted = block.request.status
        return (
            Outcome(0, said)
            if status == wanted
            else Outcome(None, said, problem=f"{said}, expected {wanted}")
        )

    def _url(self, run: Run, service: str) -> str:
        if self.site.url_of is None or run.environment is None:
            raise Failed(
                f"in which environment is {service} meant?", hint="params: {environment: {type: environment}}"
            )
        return self.site.url_of(run.environment, service).rstrip("/")


def token_of(run: Run, block: Block) -> str:
    """What every process of a block carries in its environment."""
    return f"{run.id}/{block.id}"


def answer(result: Result) -> tuple[bool, list[str]]:
    """Whether a query's answer is a yes, and the answer in lines: a scalar that is not 0, or any series at all."""
    value = result.value
    if isinstance(value, Scalar):
        return value.value != 0 and value.value == value.value, [f"{value.value:g}"]
    if isinstance(value, Vector):
        rows = zip(value.series, value.values, strict=True)
        lines = [f"{_labels(labels)} {float(number):g}" for labels, number in rows]
        more = [f"… and {len(lines) - _MOST_SERIES} more"] if len(lines) > _MOST_SERIES else []
        return bool(lines), [*lines[:_MOST_SERIES], *more] or ["the query has no answer"]
    return False, ["expected a number or series at one time"]


def _labels(labels: Mapping[str, str]) -> str:
    pairs = dict(labels)
    name = pairs.pop("__name__", "")
    return f"{name}{{{', '.join(f'{key}={value!r}' for key, value in sorted(pairs.items()))}}}"
