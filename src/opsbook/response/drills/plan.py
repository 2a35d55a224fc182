"""What a drill may touch, what it needs, and the handbook it is given. Pure."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from urllib.parse import urlsplit

from opsbook.book import Book, TextFiles, load_or_problems
from opsbook.book.drills import Drill
from opsbook.book.problems import Problem
from opsbook.book.runbooks import Runbook

ENVIRONMENT = "drill"
PERSON, SECOND = "drill", "second"
"""Who runs the page, and who approves what the first may not approve alone."""

_PACKAGES: Mapping[str, str] = {
    "redis-server": "redis-server", "redis-cli": "redis-tools", "postgres": "postgresql", "psql": "postgresql-client",
    "pg_dump": "postgresql-client", "pg_basebackup": "postgresql", "dnsmasq": "dnsmasq-base", "dig": "bind9-dnsutils",
    "setpriv": "util-linux", "unshare": "util-linux", "mount": "mount", "ip": "iproute2",
}  # fmt: skip
_URL = re.compile(r"\b[a-z][a-z0-9+.-]*://[^\s\"'<>]+", re.IGNORECASE)


def missing(drill: Drill, has: Callable[[str], bool], root: bool) -> tuple[str, ...]:
    """What the drill needs and is not there, each with how to get it. `has`: whether there is such a program."""
    found = []
    for need in drill.head.needs:
        kind, _, name = need.partition(":")
        if kind == "root" and not root:
            found.append(f'root: sudo "$(command -v opsbook)" runbooks test {drill.head.runbook}')
        elif kind != "root" and not has(name):
            found.append(f"{name}: apt install {_PACKAGES.get(name, name)}")
    return tuple(found)


def handbook(page: Runbook, drill: Drill, filled: Callable[[str], str]) -> dict[str, str]:
    """The files of the scratch handbook by path: what every drill has, what this one brings, and the page itself."""
    named = [page.head.owner, *(block.approve for block in page.blocks)]
    others = sorted({name for name in named if name} - {PERSON, SECOND})
    contacts = [f"  {name}: {{email: {name}@localhost}}" for name in (PERSON, SECOND)]
    contacts += [f"  {name}: {{members: [{SECOND}]}}" for name in others]
    files = {
        "opsbook.yaml": "\n".join(
            [f"name: drill\nowner: {PERSON}\nwrite_back: false\ncontacts:", *contacts, ""]
        ),
        "security/roles.yaml": f"roles:\n  {PERSON}: [operator]\n  {SECOND}: [operator, approver]\n",
        page.file: page.source,
    }
    if not any(path.startswith("environments/") for path in drill.handbook):
        files[f"environments/{ENVIRONMENT}.yaml"] = (
            f"environment: {ENVIRONMENT}\nentry: {{port: {filled('{port:spare}')}}}\nservices: {{}}\n"
        )
    return {**files, **{path: filled(text) for path, text in drill.handbook.items()}}


def loaded(files: Mapping[str, str]) -> tuple[Book | None, tuple[Problem, ...]]:
    """The scratch handbook, or the reasons for which there is none."""
    book, problems = load_or_problems(TextFiles.of(files))
    return book, tuple(one for one in problems if one.severity == "error")


def refusals(scratch: Book, page: Runbook, params: Mapping[str, str], real: Book | None) -> tuple[str, ...]:
    """Why the drill may not be run: it would reach beyond its scratch environment. Empty: it may.

    Args:
        scratch: its own handbook. real: the one whose page it is, if there is one.
    """
    return tuple(dict.fromkeys([
        *_environments(scratch, real), *_hosts(page, params), *_named(scratch, page, params), *_addresses(page, params),
    ]))  # fmt: skip


def _environments(scratch: Book, real: Book | None) -> Iterator[str]:
    for name, environment in scratch.environments.items():
        known = real.environments.get(name) if real is not None else None
        if environment.protect is not None or (known is not None and known.protect is not None):
            yield f"{name} is protected: drills never run there"
        if environment.runtime != "process":
            yield f"{name} runs on {environment.runtime}, which may be shared: drills use processes of this machine"


def _hosts(page: Runbook, params: Mapping[str, str]) -> Iterator[str]:
    for block in page.blocks:
        for host in block.on.hosts:
            if not is_here(host):
                yield f"{block.id} runs on {host}: drills stay on this machine"
    for name, spec in page.head.params.items():
        value = params.get(name, "" if spec.default is None else str(spec.default))
        used = name == "host" and any(block.on.kind == "host" for block in page.blocks)
        if spec.type == "host" and value and not is_here(value) and (used or not is_nowhere(value)):
            yield f"{name} is {value}: drills stay on this machine"


def _named(scratch: Book, page: Runbook, params: Mapping[str, str]) -> Iterator[str]:
    for name, spec in page.head.params.items():
        value = params.get(name, "" if spec.default is None else str(spec.default))
        if spec.type == "environment" and value and value not in scratch.environments:
            yield f"{name} is {value}, which is none of the drill's environments"


def _addresses(page: Runbook, params: Mapping[str, str]) -> Iterator[str]:
    texts = [*params.values(), *(block.script for block in page.blocks if block.language == "http")]
    for text in texts:
        for url in _URL.findall(text):
            host = _host_of(url)
            if host and "{" not in host and "$" not in host and not is_here(host):
                yield f"{host} is another machine: drills stay on this one"


def _host_of(url: str) -> str:
    try:
        return urlsplit(url).hostname or ""
    except ValueError:
        return "an address that cannot be read"


def is_here(host: str) -> bool:
    """Whether a host is this machine and can be nothing else."""
    if host.casefold() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def is_nowhere(host: str) -> bool:
    """Whether the name is one of those that can never be a machine's on the Internet (RFC 6761, RFC 2606)."""
    return host.casefold().rstrip(".").endswith((".test", ".invalid", ".example", ".localhost"))


def to_deploy(scratch: Book) -> tuple[tuple[str, tuple[str, ...]], ...]:
    """What is deployed before the fault: the services of each environment that have a version there."""
    found = []
    for name in scratch.environments:
        placed = scratch.effective_services(name)
        services = tuple(service for service, one in placed.items() if one.version)
        if services:
            found.append((name, services))
    return tuple(found)


def due(every: float, last: float | None, now: float) -> bool:
    """Whether a scheduled drill is to be run now. A clock that was set back makes none wait longer than `every`."""
    return last is None or now - last >= every or last - now > every


def chosen(pages: Sequence[str], every: Sequence[str]) -> tuple[str, ...]:
    """The pages that are meant: those named, or all, once each and in order."""
    return tuple(dict.fromkeys(pages)) or tuple(every)
