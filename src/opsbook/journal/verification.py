"""Checking a chain of events, from the database or from an export, one event at a time."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping
from typing import Any

from opsbook.journal.canonical import canonical, digest
from opsbook.journal.model import GENESIS, Head, Verification
from opsbook.journal.signing import fault


class Chain:
    """The walk along a chain, remembering no more than where it is.

    Args:
        signed: a signed head whose signature has been checked; the chain must go through it.
    """

    def __init__(self, signed: Mapping[str, Any] | None = None) -> None:
        self.head = Head(0, GENESIS)
        self._signed = Head(signed["id"], signed["hash"]) if signed else None
        self._met = self._signed is None or self._signed == self.head

    def add(self, fields: Mapping[str, Any]) -> str:
        """Take the next event, its `data` parsed. Returns why it does not fit: "" when it does."""
        expected = self.head.id + 1
        number = fields.get("id")
        if number != expected or not isinstance(number, int) or isinstance(number, bool):
            return f"event {expected} is missing; what comes next has the id {number}"
        if fields.get("previous") != self.head.hash:
            return f"event {expected} does not follow the event before it"
        try:
            covered = {name: fields[name] for name in ("id", "at", "kind", "subject", "actor", "data")}
            own = digest(self.head.hash, **covered)
        except (KeyError, TypeError, ValueError, RecursionError):
            return f"event {expected} is no event that opsbook could have written"
        if fields.get("hash") != own:
            return f"event {expected} was changed: its content does not have its hash"
        if self._signed and self._signed.id == expected:
            self._met = self._signed.hash == own
            if not self._met:
                return f"event {expected} is not the one that the head was signed over: history was rewritten"
        self.head = Head(expected, own)
        return ""

    def end(self) -> Verification:
        """The outcome after the last event; a cut tail shows here."""
        if self._met or self._signed is None:
            return Verification(True, self.head.id)
        return self.broken(f"the tail was cut: the head was signed at event {self._signed.id}")

    def broken(self, reason: str) -> Verification:
        """The outcome when the next event does not fit."""
        return Verification(False, self.head.id, self.head.id + 1, reason)


def verify_rows(rows: Iterable[Mapping[str, Any]], *, signed: Mapping[str, Any] | None) -> Verification:
    """Check events as the database has them, their `data` the stored text."""
    chain = Chain(signed)
    for row in rows:
        try:
            data = json.loads(row["data"])
            spelled = canonical(data)
        except (TypeError, ValueError, RecursionError):
            return chain.broken(f"the data of event {row['id']} is not JSON")
        if spelled != row["data"]:
            return chain.broken(f"the data of event {row['id']} is not spelled as opsbook spells it")
        if reason := chain.add({**row, "data": data}):
            return chain.broken(reason)
    return chain.end()


def verify_export(lines: Iterable[str], *, trust: Collection[str] = ()) -> Verification:
    """Check an export (`Journal.export`) by itself, without the journal; bounded memory.

    Args:
        lines: the NDJSON; the last one is the signed head.
        trust: public keys (hex) that may have signed it. Empty: any, and then only damage is found, not a
            forger who signed a history of their own.
    """
    chain = Chain()
    signed: Mapping[str, Any] | None = None
    for line in lines:
        if not line.strip():
            continue
        if signed is not None:
            return chain.broken("there is more after the signed head")
        fields = _parsed(line)
        if "signature" in fields:
            signed = fields
        elif reason := chain.add(fields):
            return chain.broken(reason)
    if signed is None:
        return chain.broken("the signed head is missing: the export was cut")
    if reason := fault(signed, trust):
        return chain.broken(reason)
    if Head(signed["id"], signed["hash"]) != chain.head:
        return chain.broken(f"the export was cut: the head was signed at event {signed['id']}")
    return Verification(True, chain.head.id)


def _parsed(line: str) -> Mapping[str, Any]:
    """The object on the line; an empty one when there is none, which then fits nowhere."""
    try:
        fields = json.loads(line)
    except (ValueError, RecursionError):
        return {}
    return fields if isinstance(fields, dict) else {}
