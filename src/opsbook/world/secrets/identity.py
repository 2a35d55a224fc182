"""The age key of this opsbook, and whom secrets are encrypted to."""

from __future__ import annotations

import os
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyrage

from opsbook.errors import Failed, Invalid, NotFound
from opsbook.world.hosts.files import atomic_write, private_folder, read_private

VARIABLE = "OPSBOOK_AGE_IDENTITY"


class AgeIdentity:
    """The private key: ``$OPSBOOK_AGE_IDENTITY`` (a file, or the key itself), or ``state/keys/age.key``.

    Both age keys and SSH private keys (ed25519, RSA, without passphrase) are understood. The file in the state
    folder is made, 0600, when somebody needs to encrypt and there is none.
    """

    def __init__(self, state: Path, environ: Mapping[str, str] = os.environ) -> None:
        given = environ.get(VARIABLE, "")
        self._inline = given if "-----BEGIN" in given or given.startswith("AGE-SECRET-KEY-") else ""
        self.path = Path(given) if given and not self._inline else state / "keys" / "age.key"
        self._may_make = not given

    def keys(self) -> list[Any]:
        """The private keys, in pyrage's types.

        Raises:
            NotFound: there is no key file. Failed: it is readable by others, or holds no key.
        """
        text = self._inline or read_private(self.path).decode("utf-8", "replace")
        where = VARIABLE if self._inline else str(self.path)
        try:
            if "-----BEGIN" in text:
                return [pyrage.ssh.Identity.from_buffer(text.encode())]
            lines = [line.strip() for line in text.splitlines() if line.strip() and not line.startswith("#")]
            keys = [pyrage.x25519.Identity.from_str(line) for line in lines]
        except pyrage.IdentityError as error:
            raise Failed(
                f"not an age identity: {error}", hint="make one with age-keygen", where=where
            ) from error
        if not keys:
            raise Failed("there is no key in the identity file", hint="make one with age-keygen", where=where)
        return keys

    def recipients(self) -> list[Any]:
        """The public side of `keys`, for encrypting to ourselves; makes the key file when there is none."""
        try:
            keys = self.keys()
        except NotFound:
            if not self._may_make:
                raise
            self._make()
            keys = self.keys()
        if not hasattr(keys[0], "to_public"):
            message = "an SSH key cannot be used to keep the secrets of a release"
            raise Failed(message, hint=f"give an age key in {VARIABLE} (age-keygen)", where=str(self.path))
        return [key.to_public() for key in keys]

    def _make(self) -> None:
        private_folder(self.path.parent)
        key = pyrage.x25519.Identity.generate()
        made = datetime.now(UTC).replace(microsecond=0).isoformat()
        text = f"# created: {made}\n# public key: {key.to_public()}\n{key}\n"
        atomic_write(self.path, text, mode=0o600)


def read_recipients(path: Path) -> list[Any]:
    """The recipients of a ``recipients.txt``: one ``age1...`` or ``ssh-...`` a line, ``#`` begins a comment.

    Raises:
        NotFound: there is no such file. Invalid: a line is neither; it is named.
    """
    try:
        lines = path.read_text().splitlines()
    except FileNotFoundError as error:
        raise NotFound("there is no recipients file", where=str(path)) from error
    found: list[Any] = []
    for number, raw in enumerate(lines, 1):
        line = raw.strip()
        if not line or line.startswith("#"):
            continue
        kind = pyrage.ssh.Recipient if line.startswith("ssh-") else pyrage.x25519.Recipient
        try:
            found.append(kind.from_str(line))
        except pyrage.RecipientError as error:
            message = f"not a public key of age or SSH: {error}"
            raise Invalid(message, hint="age1... or ssh-ed25519 ...", where=f"{path}:{number}") from error
    if not found:
        raise Invalid("there is no recipient", hint="add a line with a public key (age1...)", where=str(path))
    return found
