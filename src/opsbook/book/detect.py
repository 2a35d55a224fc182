"""What a project's files say about how it is run. Pure on names and contents; each proposal gives its reasons."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from opsbook.book.scalars import is_plain_text, quoted

# The files whose content is looked at; of others the name is enough.
READ = (
    "Procfile", "package.json", "pyproject.toml", "requirements.txt", "Pipfile", "Dockerfile", "Containerfile",
    "app.py", "wsgi.py", "asgi.py", "main.py", "server.py", "application.py", "manage.py",
)  # fmt: skip

_PYTHON_ENTRIES = ("wsgi.py", "asgi.py", "app.py", "main.py", "application.py", "server.py")
_SHELL = re.compile(r"[|&;<>`$(){}*?~]")
_APPLICATION = re.compile(
    r"^(\w+)\s*(?::[^=\n]+)?=\s*(?:\w+\.)?(Flask|FastAPI|Starlette|Quart)\(", re.MULTILINE
)
_PROCFILE_LINE = re.compile(r"([A-Za-z][A-Za-z0-9_-]*)\s*:\s*(\S.*)")


@dataclass(frozen=True, slots=True)
class Proposal:
    """A service that could be in the handbook: its file's text, and why it says what it says."""

    name: str
    text: str
    runtime: Literal["process", "docker"] = "process"
    reasons: tuple[str, ...] = ()


def detect(listing: Mapping[str, str], *, name: str = "app") -> tuple[Proposal, ...]:
    """Services for the project whose files are `listing`.

    Args:
        listing: relative paths with contents; the content may be empty for files that are not in `READ`.
        name: what to call a service whose files do not say; of the form that handbooks ask.

    Returns:
        The proposals, those that others depend on last; empty when nothing is recognised.
    """
    redis = _uses_redis(listing)
    needs = ("redis",) if redis else ()
    found = tuple(_processes(listing, name, needs))
    if not found:
        return tuple(_container(listing, name))
    return (*found, _REDIS) if redis else found


def _processes(listing: Mapping[str, str], name: str, needs: Sequence[str]) -> Iterator[Proposal]:
    if "Procfile" in listing:
        yield from _procfile(listing["Procfile"], needs)
        return
    python = _python(listing)
    if python is not None:
        yield _service(name, *python, needs=needs)
    node = _node(listing)
    if node is not None:
        yield _service("web" if python is not None and name != "web" else name, *node, needs=needs)
    if python is None and node is None and "index.html" in listing:
        command = ("python", "-m", "http.server", "--bind", "127.0.0.1", "{port}")
        yield _service(name, command, "index.html is there and nothing that would serve it", needs=())


def _procfile(text: str, needs: Sequence[str]) -> Iterator[Proposal]:
    seen: set[str] = set()
    for line in text.splitlines():
        match = _PROCFILE_LINE.fullmatch(line.strip())
        if not match or match[1] == "release":  # a release step is no service
            continue
        name = re.sub(r"[^a-z0-9-]", "-", match[1].lower())[:41]
        if name in seen:
            continue
        seen.add(name)
        takes_requests = name == "web" or "PORT" in match[2]
        reason = f"the Procfile's line {match[1]}"
        yield _service(name, _command(match[2]), reason, needs=needs, port=takes_requests)


def _command(line: str) -> tuple[str, ...]:
    """A shell's line as a list; what only a shell understands is given to one, with the braces doubled."""
    direct = line.replace("${PORT}", "{port}").replace("$PORT", "{port}")
    try:
        words = tuple(shlex.split(direct))
    except ValueError:
        words = ()
    bare = direct.replace("{port}", "")
    if words and not _SHELL.search(bare) and "=" not in words[0]:
        return words
    return (
        "sh",
        "-c",
        "exec " + line.replace("{", "{{").replace("}", "}}") if _is_simple(line) else _doubled(line),
    )


def _is_simple(line: str) -> bool:
    """One command, so that the shell can hand its place, and the signals, to it."""
    return (
        not re.search(r"[|&;<>`(){}]", line.replace("${PORT}", "")) and "=" not in line.split(maxsplit=1)[0]
    )


def _doubled(line: str) -> str:
    return line.replace("{", "{{").replace("}", "}}")


def _python(listing: Mapping[str, str]) -> tuple[tuple[str, ...], str] | None:
    declared = "\n".join(
        listing.get(file, "") for file in ("pyproject.toml", "requirements.txt", "Pipfile")
    ).lower()
    django = next((path for path in sorted(listing) if re.fullmatch(r"[A-Za-z_]\w*/wsgi\.py", path)), None)
    if "manage.py" in listing and django:
        module = django.removesuffix(".py").replace("/", ".")
        if _requires(declared, "gunicorn"):
            return ("gunicorn", module, "--bind", "127.0.0.1:{port}"), "manage.py, and gunicorn is required"
        return ("python", "manage.py", "runserver", "--noreload", "127.0.0.1:{port}"), _FOR_DEVELOPMENT
    for file in _PYTHON_ENTRIES:
        match = _APPLICATION.search(listing.get(file, ""))
        if match:
            return _web_framework(file.removesuffix(".py"), match[1], match[2], declared)
    for file in _PYTHON_ENTRIES:
        if "__main__" in listing.get(file, ""):
            return ("python", file), f"{file} can be started; it finds its port in $PORT"
    return None


_FOR_DEVELOPMENT = "its own server, which is meant for development: gunicorn or uvicorn would be better"


def _web_framework(module: str, variable: str, framework: str, declared: str) -> tuple[tuple[str, ...], str]:
    target = f"{module}:{variable}"
    if framework != "Flask":
        server = "hypercorn" if _requires(declared, "hypercorn") else "uvicorn"
        if server == "hypercorn":
            return (
                "hypercorn",
                target,
                "--bind",
                "127.0.0.1:{port}",
            ), f"{framework} in {module}.py, and hypercorn"
        return ("uvicorn", target, "--host", "127.0.0.1", "--port", "{port}"), f"{framework} in {module}.py"
    if _requires(declared, "gunicorn"):
        return (
            "gunicorn",
            target,
            "--bind",
            "127.0.0.1:{port}",
        ), f"Flask in {module}.py, and gunicorn is required"
    return ("flask", "--app", target, "run", "--port", "{port}"), _FOR_DEVELOPMENT


def _requires(declared: str, package: str) -> bool:
    return re.search(rf"(?<![\w.-]){re.escape(package)}(?![\w-])", declared) is not None


def _package(listing: Mapping[str, str]) -> Mapping[str, Any]:
    try:
        package = json.loads(listing.get("package.json", "{}"))
    except ValueError:
        return {}
    return package if isinstance(package, dict) else {}


def _node(listing: Mapping[str, str]) -> tuple[tuple[str, ...], str] | None:
    package = _package(listing)
    scripts = package.get("scripts")
    start = scripts.get("start") if isinstance(scripts, dict) else None
    if isinstance(start, str) and start.strip():
        words = start.split()
        if words[0] == "node" and not _SHELL.search(start):
            return tuple(words), "package.json's start script, without npm, which keeps signals from it"
        return ("npm", "start"), "package.json has a start script; it finds its port in $PORT"
    main = package.get("main")
    if isinstance(main, str) and main in listing:
        return ("node", main), "package.json's main; it finds its port in $PORT"
    if "server.js" in listing:
        return ("node", "server.js"), "server.js; it finds its port in $PORT"
    return None


def _uses_redis(listing: Mapping[str, str]) -> bool:
    declared = "\n".join(
        listing.get(file, "") for file in ("pyproject.toml", "requirements.txt", "Pipfile")
    ).lower()
    packages = _package(listing).get("dependencies")
    node = isinstance(packages, dict) and bool({"redis", "ioredis", "bull", "bullmq"} & packages.keys())
    return node or _requires(declared, "redis") or "redis.conf" in listing


def _container(listing: Mapping[str, str], name: str) -> Iterator[Proposal]:
    file = next((file for file in ("Dockerfile", "Containerfile") if file in listing), None)
    if file is None:
        return
    reason = f"a {file} and nothing else that says how to start"
    text = f"""\
# Found: {reason}.
service: {name}
description: {name}
run:
  image: {name}                    # build it and push it where the environment finds it
  port: http                       # {_exposed(listing[file])}
health: {{tcp: true}}                # an HTTP path that answers 200 when well says more
resources: {{memory: 512Mi}}         # of one instance; measure, then lower it
"""
    yield Proposal(name, text, "docker", (reason,))


def _exposed(dockerfile: str) -> str:
    match = re.search(r"^\s*EXPOSE\s+(\d+)", dockerfile, re.MULTILINE | re.IGNORECASE)
    return f"the image exposes {match[1]}; opsbook gives it $PORT" if match else "opsbook gives it $PORT"


def _service(
    name: str, command: Sequence[str], reason: str, *, needs: Sequence[str], port: bool = True
) -> Proposal:
    lines = [
        f"# Found: {reason}.",
        f"service: {name}",
        f"description: {name}",
        "run:",
        f"  command: [{', '.join(_word(word) for word in command)}]",
    ]
    if port:
        lines.append(
            "  port: http                       # the number is opsbook's: {port} in the command, or $PORT"
        )
    if needs:
        lines.append(
            '  env: {REDIS_URL: "redis://{url:redis}"}   # the address at which the proxy reaches it'
        )
    lines.append("source: {path: ..}                 # a release is an immutable snapshot of this folder")
    if port:
        lines.append(
            "health: {tcp: true}                # the port answers; {path: /healthz} would prove more"
        )
    lines.append("resources: {memory: 512Mi}         # of one instance; measure, then lower it")
    if needs:
        lines.append(f"depends_on: [{', '.join(needs)}]")
    return Proposal(name, "\n".join(lines) + "\n", "process", (reason,))


def _word(word: str) -> str:
    return word if is_plain_text(word) else quoted(word)


_REDIS = Proposal(
    "redis",
    """\
# Found: a client of Redis among the requirements.
service: redis
description: Cache
run:
  command: [redis-server, "--port", "{port}", "--bind", "127.0.0.1", "--save", ""]   # keeps nothing: a cache
  port: tcp
resources: {memory: 256Mi}         # of one instance
""",
    "process",
    ("a client of Redis is required",),
)
