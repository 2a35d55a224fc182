"""Signing the head, so that a journal whose tail was cut, or that was rewritten as a whole, is found out.

The signature is Ed25519 over the canonical JSON of ``{at, hash, id, public_key}``; keys and signature are
hex.
"""

from __future__ import annotations

import os
import stat
import tempfile
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from opsbook.errors import Failed
from opsbook.journal.canonical import canonical
from opsbook.journal.model import Head

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

_FILE = "journal-signing.pem"
_SIGNED = ("at", "hash", "id", "public_key")


class SigningKey:
    """The key of one control plane, in a file that only its user can read; made when first needed."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / _FILE
        self._key: Ed25519PrivateKey | None = None

    @property
    def public(self) -> str:
        """The public half, 64 hex characters.

        Raises:
            Failed: the key cannot be made or read, or others could read it.
        """
        return self._private().public_key().public_bytes_raw().hex()

    def sign(self, head: Head, *, at: float) -> dict[str, Any]:
        """`head` as ``{id, hash, at, public_key, signature}``."""
        body = {"id": head.id, "hash": head.hash, "at": at, "public_key": self.public}
        return body | {"signature": self._private().sign(canonical(body).encode()).hex()}

    def _private(self) -> Ed25519PrivateKey:
        if self._key is None:
            try:
                self._key = _load(self._path) if self._path.exists() else _make(self._path)
            except (OSError, ValueError) as error:
                raise Failed(
                    f"the journal's signing key cannot be used: {error}",
                    hint="the keys folder must belong to the user that opsbook runs as",
                    where=str(self._path),
                ) from error
        return self._key


def _load(path: Path) -> Ed25519PrivateKey:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    if stat.S_IMODE(path.stat().st_mode) & 0o077:
        raise Failed(
            "others can read the journal's signing key",
            hint=f"chmod 600 {path} (and a new key, if others are on this machine)",
            where=str(path),
        )
    key = load_pem_private_key(path.read_bytes(), password=None)
    if not isinstance(key, Ed25519PrivateKey):
        raise Failed("the journal's signing key is not an Ed25519 key", where=str(path))
    return key


def _make(path: Path) -> Ed25519PrivateKey:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    pem = Ed25519PrivateKey.generate().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    handle, name = tempfile.mkstemp(dir=path.parent)  # 0600 from the start
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(pem)
            file.flush()
            os.fsync(file.fileno())
        # A link appears whole or not at all, and never replaces the key that another process made first.
        os.link(name, path)
    except FileExistsError:
        pass
    finally:
        Path(name).unlink()
    return _load(path)


def fault(document: Mapping[str, Any], trust: Collection[str]) -> str:
    """What is wrong with a signed head: "" when nothing is.

    Args:
        trust: public keys that may sign; empty: any may, which then proves only that nothing changed since.
    """
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    try:
        body = {name: document[name] for name in _SIGNED}
        if not isinstance(body["id"], int) or not isinstance(body["hash"], str):
            return "the signed head is not one"
        key = Ed25519PublicKey.from_public_bytes(bytes.fromhex(body["public_key"]))
        signature = bytes.fromhex(document["signature"])
        key.verify(signature, canonical(body).encode())
    except (KeyError, TypeError, ValueError, UnicodeEncodeError):
        return "the signed head is not one"
    except InvalidSignature:
        return "the signature of the head is wrong"
    if trust and body["public_key"] not in trust:
        return f"the head is signed by another key ({body['public_key'][:16]}…)"
    return ""
