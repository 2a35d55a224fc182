"""The files that `opsbook init` writes: a handbook that deploys at once, each default with its reason."""

from __future__ import annotations

import re
from collections.abc import Sequence
from importlib import resources

from opsbook.book.detect import Proposal
from opsbook.book.scalars import quoted

_HELLO_SERVICE = """\
# One file a service. Every key: docs/reference/handbook.md, or `opsbook schema service`.
service: hello
description: Says hello
run:
  command: [python, app.py]        # started without a shell; the port is also in $PORT
  port: http                       # http | grpc | tcp; the number is opsbook's
source: {path: ../hello}           # a release is an immutable snapshot of this folder
health: {path: /healthz}           # an instance gets requests only while this answers 200
metrics: {path: /metrics}          # Prometheus text format
resources: {memory: 256Mi}         # of one instance
"""

_HELLO = Proposal(
    "hello", _HELLO_SERVICE, "process", ("nothing was found to run: a small service to begin with",)
)


def scaffold(
    name: str, *, proposals: Sequence[Proposal] = (), owner: str = "me", email: str | None = None
) -> dict[str, str]:
    """The texts of a new handbook by path, relative to the project's folder.

    All of it is below ``ops/``; without proposals there is a service to run below ``hello/`` too.

    Args:
        name: of the handbook; made to fit the format's rule for names.
        proposals: the services that `opsbook.book.detect` found; empty for the hello service.
        owner: the contact who answers for everything; made to fit as well.
        email: how the owner is reached; left out, `check` says that nobody can be.
    """
    chosen = tuple(proposals) or (_HELLO,)
    files = {"ops/opsbook.yaml": _cover(as_name(name, "handbook"), as_name(owner, "me"), email)}
    files |= {f"ops/services/{proposal.name}.yaml": proposal.text for proposal in chosen}
    files["ops/environments/local.yaml"] = _environment(chosen)
    if not proposals:
        files["hello/app.py"] = (
            resources.files("opsbook.book").joinpath("starter/hello.py").read_text("utf-8")
        )
    return files


def as_name(text: str, otherwise: str) -> str:
    """`text` as the format allows names: lower-case letters, digits and dashes, beginning with a letter."""
    name = re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")
    name = re.sub(r"^[^a-z]+", "", name)[:41].rstrip("-")
    return name or otherwise


def _cover(name: str, owner: str, email: str | None) -> str:
    contact = f"{{email: {quoted(email)}}}" if email else "{}    # email: you@example.com"
    return f"""\
# The handbook of {name}. `opsbook check` reads it and says what is wrong, or what is missing.
#   opsbook up --detach                    start opsbook
#   opsbook deploy SERVICE --to local      run a service
#   opsbook status                         see how it is
name: {name}
owner: {owner}                  # answers for what has no owner of its own
contacts:
  {owner}: {contact}
"""


def _environment(proposals: Sequence[Proposal]) -> str:
    runtime = "docker" if any(proposal.runtime == "docker" for proposal in proposals) else "process"
    services = "".join(f"  {proposal.name}: {{replicas: 1}}\n" for proposal in proposals)
    return f"""\
# One file an environment: where services run, in which version, and who may change that.
environment: local
runtime: {runtime}                 # process | docker | kubernetes
entry: {{port: 8080}}              # requests come in at http://127.0.0.1:8080
services:                        # a service that is not listed does not run here
{services}"""
