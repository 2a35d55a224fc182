"""The checklist of one deployment: what is on it, who signed what, what the machine found."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

from opsbook.book import ChecklistItem
from opsbook.book.checklist import ItemStage
from opsbook.deployment.approvals import refuse_unless_personal
from opsbook.deployment.checks import Checks
from opsbook.deployment.gates import ChecklistRecord, CheckResult, Item, Signature
from opsbook.deployment.model import Deployment, Phase
from opsbook.deployment.site import Site
from opsbook.errors import Conflict, NotFound
from opsbook.security.model import Identity

STAGES: tuple[ItemStage, ...] = ("pre", "during", "post")


class Checklists:
    """Showing, signing, checking. The document ``checklist/DEPLOYMENT`` is written under a lock of this process."""

    def __init__(self, site: Site, checks: Checks) -> None:
        self._site = site
        self._checks = checks
        self._writing = threading.Lock()

    def items(self, deployment: Deployment, stage: ItemStage) -> tuple[ChecklistItem, ...]:
        """What the handbook asks for; nothing of anything but a deploy."""
        if deployment.kind != "deploy":
            return ()
        return self._site.book().checklist_items(deployment.environment, deployment.service, stage)

    def needed(self, deployment: Deployment) -> tuple[Item, ...]:
        """What must be settled before it starts, as the gates see it."""
        return tuple(
            Item(id=item.id, text=item.text, machine=item.kind == "machine")
            for item in self.items(deployment, "pre")
        )

    def record(self, name: str) -> ChecklistRecord:
        document = self._site.journal.state.get(_key(name))
        return ChecklistRecord() if document is None else ChecklistRecord.model_validate(document)

    def show(self, name: str) -> dict[str, Any]:
        """Every item with its state: passed, failed, unknown (a person must sign), signed, or open."""
        deployment, record = self._site.records.deployment(name), self.record(name)
        shown = [
            _shown(item, record.signatures.get(item.id), record.checks.get(item.id))
            for stage in STAGES
            for item in self.items(deployment, stage)
        ]
        return {"deployment": name, "phase": deployment.phase, "items": shown}

    def sign(self, name: str, item_id: str, who: Identity, note: str = "") -> None:
        """Say that an item is done, with one's name.

        Raises:
            NotAllowed: it is not known who it is, they asked for the deployment, or they may not sign here.
            NotFound: no such item. Conflict: a machine checks it, or its time is over.
        """
        deployment = self._site.records.deployment(name)
        refuse_unless_personal(self._site, deployment, who, "sign")
        item = self._item(deployment, item_id)
        if item.stage == "pre" and deployment.phase not in (Phase.PENDING, Phase.GATED):
            raise Conflict(
                f"{name} has passed its gates: what comes before it cannot be signed any more", where=name
            )
        checked = self.record(name).checks.get(item.id)
        if item.kind == "machine" and (checked is None or checked.status != "unknown"):
            raise Conflict(
                f"{item.text}: the machine checks that", hint=f"opsbook checklist show {name}", where=name
            )
        signature = Signature(person=who.name, at=self._site.clock.now(), note=note.strip()[:2000])
        about = {"id": name, "item": item.id, "text": item.text, "note": signature.note}
        self._change(
            deployment,
            "checklist.signed",
            about,
            who.actor,
            lambda record: record.but(signatures={**record.signatures, item.id: signature}),
        )

    def run(self, name: str, stage: ItemStage) -> None:
        """Let the machine check its items of a stage; before the deployment, up to the first that fails."""
        deployment = self._site.records.deployment(name)
        results: dict[str, CheckResult] = {}
        for item in self.items(deployment, stage):
            if item.kind != "machine":
                continue
            if stage == "pre" and self._wants_out(name):
                return
            results[item.id] = self._checks.check(item, deployment)
            if stage == "pre" and results[item.id].status == "failed":
                break
        if not results:
            return
        at = self._site.clock.now()
        shown = {key: {"status": one.status, "detail": one.detail} for key, one in results.items()}
        self._change(
            deployment,
            "checklist.checked",
            {"id": name, "stage": stage, "results": shown},
            "opsbook",
            lambda record: record.but(
                checks={**record.checks, **results}, checked_at=at if stage == "pre" else record.checked_at
            ),
        )

    def _wants_out(self, name: str) -> bool:
        deployment = self._site.records.deployment(name)
        return deployment.abort is not None or deployment.phase is not Phase.GATED

    def _item(self, deployment: Deployment, wanted: str) -> ChecklistItem:
        """By its id, or by the beginning of it where that is clear."""
        known = [item for stage in STAGES for item in self.items(deployment, stage)]
        found = [item for item in known if item.id == wanted] or [
            item for item in known if item.id.startswith(wanted)
        ]
        if len(found) == 1:
            return found[0]
        names = ", ".join(item.id for item in found or known) or "there is no checklist for it"
        several = "several items begin like that" if found else f"there is no item {wanted}"
        raise NotFound(several, hint=names, where=deployment.id)

    def _change(
        self,
        deployment: Deployment,
        kind: str,
        about: dict[str, Any],
        actor: str,
        change: Callable[[ChecklistRecord], ChecklistRecord],
    ) -> None:
        with self._writing:
            changed = change(self.record(deployment.id))
            self._site.journal.append(
                kind, deployment.subject, about, actor=actor, put={_key(deployment.id): changed.to_json()}
            )


def _shown(item: ChecklistItem, signature: Signature | None, result: CheckResult | None) -> dict[str, Any]:
    status = result.status if result is not None else "open"
    if signature is not None:
        status = "signed"  # type: ignore[assignment]
    return {
        "id": item.id,
        "text": item.text,
        "stage": item.stage,
        "kind": item.kind,
        "check": item.check,
        "status": status,
        "detail": result.detail if result is not None else "",
        "by": signature.person if signature is not None else None,
        "at": signature.at if signature is not None else None,
        "note": signature.note if signature is not None else "",
    }


def _key(name: str) -> str:
    return f"checklist/{name}"
