"""What somebody may do, as buttons: one that they may not use stays, and says why. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from opsbook.deployment.pages.source import Source
from opsbook.security.model import Action, Identity
from opsbook.security.plan import may


@dataclass(frozen=True, slots=True)
class Button:
    """Leads to a page that asks once more. `why` it cannot be used; empty when it can."""

    name: str
    label: str
    href: str
    why: str = ""
    look: str = ""  # "first" for what one most likely wants, "danger"
    by_role: bool = False  # it is a role that is missing


def button(
    identity: Identity,
    action: Action,
    environment: str,
    *,
    name: str,
    label: str,
    href: str,
    look: str = "",
    impossible: str = "",
) -> Button:
    """A button for `action`; `impossible` says why nobody can do it now."""
    decision = may(identity, action, environment)
    why = impossible or ("" if decision.allowed else decision.why)
    return Button(name, label, href, why, look, by_role=not impossible and not decision.allowed)


def refusals(buttons: list[Button]) -> list[tuple[str, str]]:
    """Why some cannot be used, as names and reason; several for which a role is missing are said together."""
    found = [(one.label.rstrip("…"), one.why) for one in buttons if one.why and not one.by_role]
    lacking = [one for one in buttons if one.by_role]
    if len(lacking) == 1:
        found.append((lacking[0].label.rstrip("…"), lacking[0].why))
    elif lacking:
        names = ", ".join(one.label.rstrip("…") for one in lacking)
        found.append((names, f"your roles do not allow it; for example, {lacking[0].why}"))
    return found


def go_on_action(source: Source, environment: str) -> Action:
    """Where changes need approval, so does letting a canary go on undecided."""
    return "approve" if source.gates.protected(environment) else "deploy"


def deployment_buttons(
    identity: Identity, view: Mapping[str, Any], asked_by: str, going_on: Action
) -> list[Button]:
    """Of a deployment's page; `going_on` is what letting it go on undecided takes."""
    environment, path = view["environment"], f"/deployments/{view['id']}"
    if view["outcome"] is not None:
        return [
            button(
                identity,
                "rollback",
                environment,
                name="rollback",
                label="Roll back…",
                href=f"/environments/{environment}/{view['service']}/rollback",
            )
        ]
    found = []
    if any(gate["name"] == "approvals" and gate["status"] == "waiting" for gate in view["gates"]):
        own = "you asked for it yourself: somebody else must approve" if identity.name == asked_by else ""
        found.append(
            button(
                identity,
                "approve",
                environment,
                name="approve",
                label="Approve…",
                href=f"{path}/approve",
                look="first",
                impossible=own,
            )
        )
    undecided = (view["analysis"] or {}).get("verdict") in ("inconclusive", "no_data", "error")
    if view["phase"] == "analysing" and undecided:
        found.append(
            button(identity, going_on, environment, name="go-on", label="Go on…", href=f"{path}/go-on")
        )
    gone = "it is being taken back already" if view["phase"] == "aborting" else ""
    found.append(
        button(
            identity,
            "abort",
            environment,
            name="abort",
            label="Abort…",
            href=f"{path}/abort",
            look="danger",
            impossible=gone,
        )
    )
    return found


def service_buttons(
    identity: Identity, environment: str, service: str, status: Mapping[str, Any], promotes: str
) -> list[Button]:
    """Of a service's page; `promotes` is the environment that versions come from, or empty."""
    path = f"/environments/{environment}/{service}"
    absent = "" if status["version"] else "it is not deployed here"
    found = [
        button(
            identity,
            "deploy",
            environment,
            name="deploy",
            label="Deploy…",
            href=f"{path}/deploy",
            look="first",
        )
    ]
    if promotes:
        found.append(
            button(
                identity,
                "deploy",
                environment,
                name="promote",
                label=f"Promote from {promotes}…",
                href=f"{path}/promote",
            )
        )
    found += [
        button(
            identity,
            "rollback",
            environment,
            name="rollback",
            label="Roll back…",
            href=f"{path}/rollback",
            impossible=absent,
        ),
        button(
            identity,
            "scale",
            environment,
            name="scale",
            label="Scale…",
            href=f"{path}/scale",
            impossible=absent,
        ),
        button(
            identity,
            "restart",
            environment,
            name="restart",
            label="Restart…",
            href=f"{path}/restart",
            impossible=absent,
        ),
    ]
    return found
