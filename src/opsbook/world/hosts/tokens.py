"""Words that nobody can guess."""

from __future__ import annotations

import secrets


def new_token() -> str:
    """128 random bits, as 32 hexadecimal digits."""
    return secrets.token_hex(16)


def new_secret() -> str:
    """256 random bits, as 43 characters that need no quoting in an address."""
    return secrets.token_urlsafe(32)
