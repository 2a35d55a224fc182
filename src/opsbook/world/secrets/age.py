"""Secrets as files encrypted with age, with environment variables as the other way to give one.

``ops/security/secrets/NAME.age`` may be committed: it is readable only with the identity (see identity.py).
Where there is no such file, ``$OPSBOOK_SECRET_NAME`` is taken (upper case, everything but letters and
digits an underscore).

A release keeps the values it was made with: `pin` stores them, encrypted again to our own identity, below
``state/secrets/NAME/VERSION.age``, so that a rollback gets the password of then.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import re
import secrets
import threading
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import pyrage

from opsbook.errors import Failed, Invalid, NotFound, OpsbookError
from opsbook.world.hosts.files import atomic_write, private_folder, read_private
from opsbook.world.secrets.identity import AgeIdentity, read_recipients
from opsbook.world.secrets.masking import Masks

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,100}")
_VERSION = re.compile(r"[0-9a-f]{12}")


class AgeSecrets:
    """Satisfies `world.words.Secrets`; safe to use from several threads.

    Args:
        folder: where NAME.age and recipients.txt lie (``ops/security/secrets``); it need not exist.
        state: opsbook's own folder; keys/ and secrets/ lie in it, readable by its user only.
    """

    def __init__(self, folder: Path, state: Path, *, environ: Mapping[str, str] = os.environ) -> None:
        self._folder = folder
        self._keys = state / "keys"
        self._pinned = state / "secrets"
        self._environ = environ
        self._identity = AgeIdentity(state, environ)
        self._masks = Masks()
        self._lock = threading.Lock()
        self._learned = False

    def get(self, name: str, version: str | None = None) -> str:
        """The value now, or the one that had `version` when it was pinned.

        Raises:
            NotFound: there is none; the message names where it was looked for. Failed: it cannot be decrypted.
        """
        value = self._current(name) if version is None else self._earlier(name, version)
        self._masks.add(value)
        return value

    def version(self, name: str) -> str:
        """12 hex digits that change when the value does: an HMAC, so that nobody can try values against it."""
        return self._version_of(self._current(name))

    def mask(self, text: str) -> str:
        """`text` with every value that is stored or was ever handed out replaced by ``***``."""
        self._learn()
        return self._masks.mask(text)

    def values(self) -> frozenset[str]:
        """What `mask` masks, for streams; it never leaves this process."""
        self._learn()
        return self._masks.values

    def names(self) -> tuple[str, ...]:
        """The names of the stored secrets (not of those in environment variables), sorted."""
        return tuple(sorted(path.stem for path in self._folder.glob("*.age")))

    def set(self, name: str, value: str) -> Path:
        """Encrypt `value` to everybody in recipients.txt, or to our own identity where there is no such file.

        Returns:
            The file that was written.

        Raises:
            Invalid: the name cannot be a file's, or a recipient is no key.
        """
        path = self._path(name)
        try:
            recipients = read_recipients(self._folder / "recipients.txt")
        except NotFound:
            recipients = self._identity.recipients()
        self._folder.mkdir(parents=True, exist_ok=True)
        atomic_write(path, pyrage.encrypt(value.encode(), recipients), mode=0o644)
        self._masks.add(value)
        return path

    def pin(self, names: Iterable[str]) -> dict[str, str]:
        """Keep the present values, so that ``get(name, version)`` gives them for ever.

        Returns:
            name -> version.

        Raises:
            NotFound: a secret is unknown; nothing is promised about the others.
        """
        versions = {}
        for name in sorted(set(names)):
            value = self._current(name)
            versions[name] = self._version_of(value)
            path = self._pinned / name / f"{versions[name]}.age"
            if not path.exists():
                private_folder(self._pinned)
                private_folder(path.parent)
                encrypted = pyrage.encrypt(value.encode(), self._identity.recipients())
                atomic_write(path, encrypted, mode=0o600)
        return versions

    def _current(self, name: str) -> str:
        path = self._path(name)
        if path.exists():
            return self._decrypt(path)
        variable = "OPSBOOK_SECRET_" + re.sub(r"[^A-Z0-9]", "_", name.upper())
        if variable in self._environ:
            return _trimmed(self._environ[variable])
        message = f"no such secret: {name} (looked for {path} and ${variable})"
        raise NotFound(message, hint=f"opsbook secrets set {name}")

    def _earlier(self, name: str, version: str) -> str:
        self._path(name)
        if not _VERSION.fullmatch(version):
            raise Invalid(f"not a version of a secret: {version}", where=name)
        path = self._pinned / name / f"{version}.age"
        if path.exists():
            return self._decrypt(path)
        with suppress(NotFound):
            value = self._current(name)
            if self._version_of(value) == version:
                return value
        message = f"secret {name} has no kept version {version} (looked for {path})"
        raise NotFound(message, hint="deploy again, which takes the present value")

    def _path(self, name: str) -> Path:
        if not _NAME.fullmatch(name):
            raise Invalid(
                f"not the name of a secret: {name!r}", hint="letters, digits, dot, dash, underscore"
            )
        return self._folder / f"{name}.age"

    def _decrypt(self, path: Path) -> str:
        try:
            keys: list[Any] = self._identity.keys()
        except NotFound as error:
            message = "the secret cannot be decrypted: this opsbook has no identity"
            hint = f"put the age key into {self._identity.path} (mode 0600) or $OPSBOOK_AGE_IDENTITY"
            raise Failed(message, hint=hint, where=str(path)) from error
        try:
            data = pyrage.decrypt(path.read_bytes(), keys)
        except (pyrage.DecryptError, OSError) as error:
            hint = "is this opsbook's public key among the recipients? Add it and set the secret again"
            raise Failed(f"the secret cannot be decrypted: {error}", hint=hint, where=str(path)) from error
        text = data.decode("utf-8", "replace")
        if text.encode() != data:  # an error of decoding would carry the bytes
            hint = "encode binary values (base64) and decode them in the service"
            raise Failed("the secret is not UTF-8 text", hint=hint, where=str(path))
        return _trimmed(text)

    def _version_of(self, value: str) -> str:
        return hmac.new(self._version_key(), value.encode(), hashlib.sha256).hexdigest()[:12]

    def _version_key(self) -> bytes:
        path = self._keys / "version.key"
        with self._lock:
            try:
                return read_private(path)
            except NotFound:
                private_folder(self._keys)
                atomic_write(path, secrets.token_bytes(32), mode=0o600)
                return read_private(path)

    def _learn(self) -> None:
        """After a start of opsbook the running services have values that this object never handed out."""
        if self._learned:
            return
        self._learned = True
        for path in (*self._folder.glob("*.age"), *self._pinned.glob("*/*.age")):
            # What cannot be decrypted here was never given to a service from here.
            with suppress(OpsbookError):
                self._masks.add(self._decrypt(path))
        for variable, value in self._environ.items():
            if variable.startswith("OPSBOOK_SECRET_"):
                self._masks.add(_trimmed(value))


def _trimmed(value: str) -> str:
    """Editors and `echo` end a file with a newline that is no part of the secret: one is taken off."""
    return value[:-2] if value.endswith("\r\n") else value.removesuffix("\n")
