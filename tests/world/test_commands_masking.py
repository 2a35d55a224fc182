"""Secrets in streams: in every form, across every border."""

from __future__ import annotations

import base64
import json
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from opsbook.world.commands.masking import StreamMask

SECRETS = ['p@ss w0rd/"x\\+ü=', "hunter2-long", "-----BEGIN KEY-----\nMIIabcdefghij\n-----END KEY-----"]


def masked(secrets: list[str], data: bytes, size: int) -> bytes:
    mask = StreamMask(secrets)
    return b"".join(mask.feed(data[at : at + size]) for at in range(0, len(data), size)) + mask.flush()


@pytest.mark.parametrize("secret", SECRETS)
@pytest.mark.parametrize("size", [1, 2, 3, 7, 10_000])
def test_every_form_is_taken_out(secret: str, size: int) -> None:
    """As it is, in base64 at any place and broken into lines, in URLs, JSON and hexadecimal."""
    for before in range(4):
        raw = b"a" * before + secret.encode() + b"tail"
        for data in (
            raw, base64.b64encode(raw), base64.encodebytes(raw * 8), base64.urlsafe_b64encode(raw), raw.hex().encode(),
            json.dumps(raw.decode()).encode(), json.dumps(raw.decode(), ensure_ascii=False).encode(),
            quote(raw).encode(), quote(raw, safe="").encode(), quote_plus(raw).encode(),
        ):  # fmt: skip
            out = masked(SECRETS, data, size)
            assert b"***" in out, data
            assert secret.encode() not in out
            core = base64.b64encode(secret.encode())[4:-8]
            assert core not in out.replace(b"\n", b"")


@settings(max_examples=200, deadline=None)
@given(
    st.text(alphabet="ab\n", max_size=60),
    st.integers(1, 9),
    st.lists(st.text(alphabet="ab", min_size=2, max_size=5), max_size=3),
)
def test_pieces_change_nothing(text: str, size: int, secrets: list[str]) -> None:
    """No secret is left, whatever the pieces; what is none stays as it is."""
    out = masked(secrets, text.encode(), size)
    assert not any(secret.encode() in out for secret in secrets)
    if not any(secret in text.replace("\n", "") for secret in secrets):
        assert text.encode() == out


def test_what_is_no_secret_is_shown_at_once() -> None:
    """Whoever watches does not wait for more than may be one."""
    mask = StreamMask(["hunter2-long"])
    assert b"hello\n" == mask.feed(b"hello\n")
    assert b"" == mask.feed(b"hunt")
    assert b"hunting!\n" == mask.feed(b"ing!\n")
