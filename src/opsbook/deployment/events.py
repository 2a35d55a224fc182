"""The kinds of events that deployment writes, registered when the room is opened."""

from __future__ import annotations

from opsbook.journal import register

_DEPLOYMENT = {"id": "the deployment's id", "version": "the version it brings"}

register(
    "deployment.requested",
    "Somebody asked for a deployment, rollback, scaling or restart.",
    _DEPLOYMENT
    | {
        "kind": "deploy, rollback, scale or restart",
        "strategy": "the strategy's name",
        "previous": "the version that served when it was asked for",
        "automatic": "true when opsbook itself asked",
        "reason": "why, where there is a reason to give",
    },
)
register(
    "deployment.phase",
    "A deployment entered a phase.",
    _DEPLOYMENT
    | {"phase": "the phase", "step": "the step within it", "message": "why", "evidence": "what was seen"},
)
register(
    "deployment.abort_requested",
    "Somebody, or a newer deployment, asked that a deployment be taken back.",
    {"id": "the deployment's id", "reason": "why", "superseded_by": "the newer deployment, if any"},
)
for _outcome, _meaning in {
    "succeeded": "A deployment reached its end: its version serves.",
    "rolled_back": "opsbook took a deployment back by itself.",
    "failed": "A deployment ended without its version serving, and there was nothing to go back to.",
    "aborted": "A deployment was taken back because a person asked.",
    "superseded": "A deployment was taken back in favour of a newer one.",
}.items():
    register(
        f"deployment.{_outcome}",
        _meaning,
        _DEPLOYMENT | {"kind": "its kind", "reason": "why it ended so", "seconds": "from start to end"},
    )
register(
    "deployment.reverted",
    "A deployment that had succeeded was taken back in its watch window.",
    {"id": "the deployment", "by": "the rollback that takes it back", "reason": "what was seen"},
)
register(
    "deployment.judged",
    "The verdict on a canary's step changed.",
    {
        "id": "the deployment",
        "step": "which step",
        "verdict": "pass, fail, inconclusive, error or no_data",
        "reason": "in words, with numbers",
        "rules": "each rule with its verdict, value, threshold and samples",
        "bounds": "of the difference of error rates, canary less stable",
    },
)
register(
    "deployment.allowed",
    "A person let a canary go on beyond a step that the analysis could not decide.",
    {"id": "the deployment", "step": "which step", "comment": "why"},
)
register(
    "release.created",
    "An immutable release came to be: source snapshot, configuration and versions of secrets.",
    {
        "release": "its id",
        "version": "its label",
        "digest": "sha256 of its source",
        "commit": "the source's commit, for git",
        "handbook": "the handbook's commit",
        "secrets": "names of its secrets to their versions",
    },
)
register(
    "instance.starting",
    "Instances are about to be started (the intent).",
    {"deployment": "for which deployment", "release": "of which release", "instances": "their ids"},
)
register(
    "instance.stopped",
    "Instances ended because opsbook wanted it.",
    {"deployment": "for which deployment", "instances": "their ids"},
)
register(
    "instance.changed",
    "An instance died, was started again, or cannot be started.",
    {
        "instance": "its id",
        "release": "its release",
        "state": "its state now",
        "restarts": "unplanned ends so far",
        "exit": "how its last process ended",
    },
)
register(
    "traffic.shifting",
    "Requests are about to be sent elsewhere (the intent).",
    {"deployment": "for which deployment", "weights": "shares by release", "message": "why"},
)
register(
    "traffic.serving",
    "The proxy was seen to serve the new routes.",
    {
        "deployment": "for which deployment",
        "weights": "shares by release",
        "generation": "of the route table",
        "seconds": "from writing it to serving it",
    },
)
register(
    "traffic.refused",
    "The proxy refused new routes; the last good ones stand.",
    {"deployment": "for which deployment", "reason": "the proxy's words"},
)
register(
    "traffic.proxy",
    "The proxy died, was started again or was adopted.",
    {"message": "what happened"},
)
register(
    "placement.warm_ended",
    "The previous release was kept long enough and has been stopped.",
    {"release": "its id", "version": "its label", "instances": "which ended"},
)
register(
    "rollout.requested",
    "Several services are to be deployed in dependency order.",
    {"id": "the rollout", "deployments": "their deployments", "levels": "which may go side by side"},
)
register(
    "book.changed",
    "The handbook changed and is read again.",
    {"digest": "of its content", "commit": "its commit", "services": "services that differ"},
)
register(
    "book.broken",
    "The handbook has errors; the last good one stands.",
    {"problems": "the first ten problems"},
)
register(
    "book.version_written",
    "opsbook wrote into the handbook which version an environment runs.",
    {"version": "the version", "file": "the file", "commit": "the commit made, if the handbook is in git"},
)
