"""What programs write to terminals, on pages: colours stay, other commands go, and nothing of it becomes HTML."""

from __future__ import annotations

import html
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from opsbook.response.pages.colours import coloured, plain


@pytest.mark.parametrize(
    ("written", "shown"),
    [
        ("\x1b[32mok\x1b[0m done", '<span class="ansi-green">ok</span> done'),
        ("\x1b[1;31mfailed\x1b[m.", '<span class="ansi-bold ansi-red">failed</span>.'),
        ("\x1b[91mbright\x1b[39m", '<span class="ansi-red">bright</span>'),
        ("\x1b[38;5;196mpalette\x1b[0m", "palette"),
        ("\x1b[38;2;1;31;1mtrue\x1b[0m", "true"),
        ("\x1b[38;5;1;32mboth", '<span class="ansi-green">both</span>'),
        ("a\x1b[2K\x1b[1Gb", "ab"),
        ("\x1b]0;title\x07text", "text"),
        ("10%\r50%\r100%\nnext", "100%\nnext"),
        ("windows\r\nlines\r\n", "windows\nlines\n"),
        ("\x1b[31m<b>&\x1b[0m", '<span class="ansi-red">&lt;b&gt;&amp;</span>'),
        ("\x1b[31", "31"),
        ("tab\tstays\x00\x07", "tab\tstays"),
    ],
)
def test_it_looks_as_in_a_terminal(written: str, shown: str) -> None:
    """Of a line that was written over, the last is shown."""
    assert shown == coloured(written)


@given(st.text(st.sampled_from("\x1b[]0123;m<>&\"'\r\nab\x07é"), max_size=60))
def test_whatever_is_written_nothing_acts(text: str) -> None:
    """The only elements are our spans; the words are those of the plain text; no command is left."""
    found = coloured(text)
    tags = re.findall(r"<[^>]*>", found)
    assert all(re.fullmatch(r'</span>|<span class="(ansi-[a-z]+ ?){1,2}">', tag) for tag in tags)
    words = html.unescape(re.sub(r"</?span[^>]*>", "", found))
    assert plain(text) == words
    assert not re.search(r"[\x1b\r\x07]", words)
