"""Markdown of the handbook as HTML of the console: what is meant comes through, what is hostile stays text."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from opsbook.book.runbook_pages import read_runbook
from opsbook.response.pages.prose import address, html, parts

HOSTILE = [
    "<script>alert(1)</script>",
    "text <img src=x onerror=alert(1)>",
    "<div onclick='x'>\n\ntext\n\n</div>",
    "[a](javascript:alert(1)) [b](data:text/html;base64,x) [c](vbscript:x) [d](&#106;avascript:alert(1))",
    "[e]: javascript:alert(1)\n\n[e]",
    "<javascript:alert(1)>",
    "![x](https://elsewhere.example/x.png)",
    "<svg/onload=alert(1)>",
    "```\n</pre><script>x</script>\n```",
    '# <b onmouseover="x">title</b>',
    "| <script> | x |\n|---|---|\n| <iframe src=x> | y |",
    '<!-- comment --> <script>x</script> <!-- "',
]
_MADE = {
    "h2", "h3", "h4", "p", "a", "em", "strong", "code", "pre", "ul", "ol", "li", "blockquote", "hr", "br", "table",
    "thead", "tbody", "tr", "th", "td", "div", "img", "s",
}  # fmt: skip
_ATTRIBUTES = {"href", "rel", "id", "class", "src", "alt", "loading", "tabindex", "start", "title", "style"}


def check(said: str) -> None:
    """Only what the renderer makes: its own elements and attributes, and links that lead somewhere plain."""
    for name, rest in re.findall(r"<([a-zA-Z][^\s>/]*)([^>]*)>", said):
        assert name in _MADE, said
        for attribute, value in re.findall(r'([a-zA-Z-]+)="([^"]*)"', rest):
            assert attribute in _ATTRIBUTES, said
            if attribute == "href":
                assert re.match(r"(https?:|mailto:|/|#)", value), said
            if attribute == "src":
                assert value.startswith("/"), said


@pytest.mark.parametrize("text", HOSTILE)
def test_what_is_hostile_stays_text(text: str) -> None:
    """No element, attribute or address of the author's own."""
    check(str(html("runbooks/x.md", text)))


@given(st.text(alphabet="<>/!-[]()`#*|&;:\"'= \nabjs", max_size=200))
def test_whatever_is_written_makes_no_elements_of_its_own(text: str) -> None:
    """Any soup of marks."""
    check(str(html("runbooks/x.md", text)))


@pytest.mark.parametrize(
    ("link", "expected"),
    [
        ("disk-full.md", "/runbooks/disk-full"),
        ("a/b.md#stop", "/runbooks/a/b#at-stop"),
        ("drills/x.md", "/handbook/runbooks/drills/x.md"),
        ("../services/api.yaml", "/handbook/services/api.yaml"),
        ("../incidents/2026-11-21-x.md", "/handbook/incidents/2026-11-21-x.md"),
        ("#steps", "#at-steps"),
        ("https://example.org/x?y=1", "https://example.org/x?y=1"),
        ("mailto:ops@example.org", "mailto:ops@example.org"),
        ("../../etc/passwd", ""),
        ("javascript:alert(1)", ""),
        ("//elsewhere.example/x", ""),
    ],
)
def test_links_lead_to_pages_here(link: str, expected: str) -> None:
    """Within the handbook, or plainly elsewhere, or nowhere."""
    assert expected == address("runbooks/x.md", link)


def test_blocks_are_taken_apart_from_prose() -> None:
    """A block with a role is itself; one without stays in the text, where its page has it."""
    text = (
        "# T\n\nBefore.\n```bash run id=a risk=read\ntrue\n```\nBetween.\n```bash\nls\n```\n"
        "```bash check for=a\ntrue\n```\n"
    )
    page, _, problems = read_runbook("x", text.encode())
    assert page is not None, problems
    found = parts(page.file, page.source, page.blocks, title="T")
    assert ["", "a", "", "check-a"] == [one.block.id if one.block else "" for one in found]
    assert "ls" in str(found[2].html)
    assert "<h2" not in str(found[0].html)


def test_marks_and_boxes_of_a_post_mortem() -> None:
    """Marks for programs are not shown, boxes are; its own plot is a picture, any other one its words."""
    text = (
        "---\na: 1\n---\n<!-- opsbook:summary 0123456789abcdef -->\nIt **failed**.\n<!-- /opsbook:summary -->\n\n"
        "- [ ] a @ana\n- [x] b\n\n![errors](x.svg) ![other](y.svg)\n"
    )
    said = str(
        html("incidents/p.md", text, pictures={"incidents/x.svg": "/incidents/inc-1/postmortem/plot.svg"})
    )
    assert "opsbook:" not in said
    assert "<strong>failed</strong>" in said
    assert ("☐ a @ana" in said, "☑ b" in said) == (True, True)
    assert '<img src="/incidents/inc-1/postmortem/plot.svg" alt="errors"' in said
    assert "[picture: other]" in said
