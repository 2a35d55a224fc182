"""A page of Markdown as HTML that can do no harm, its blocks that run taken apart from what is only read. Pure."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, unquote

from markupsafe import Markup, escape

from opsbook.book.checklist import parted
from opsbook.book.runbooks import Block

if TYPE_CHECKING:
    from markdown_it import MarkdownIt
    from markdown_it.token import Token

_SCHEME = re.compile(r"[a-zA-Z][a-zA-Z0-9+.-]*:|//")
_SAFE = re.compile(r"(https?|mailto):", re.IGNORECASE)
_TASK = re.compile(r"^\[([ xX])\] ")
_COMMENT = re.compile(r"<!--.*?-->", re.DOTALL)
_NAMED = re.compile(r'<h([1-4]) id="at-[a-z0-9-]*"(?=>)')
_LEVELS = {"h1": "h2", "h2": "h2", "h3": "h3", "h4": "h4", "h5": "h4", "h6": "h4"}


@dataclass(frozen=True, slots=True)
class Part:
    """A stretch of a page: prose, or one block that runs."""

    html: Markup | None = None
    block: Block | None = None


def parts(
    file: str,
    source: str,
    blocks: Sequence[Block] = (),
    *,
    title: str = "",
    pictures: Mapping[str, str] | None = None,
) -> tuple[Part, ...]:
    """The page in order. HTML in it is shown as text, without comments; links within the handbook lead to pages here.

    Args:
        file: where it lies in the handbook; what its links are relative to.
        title: of the page; a first heading that says the same is left out.
        pictures: the addresses of pictures by their files; of any other only the words are shown.
    """
    _, body = parted(source)
    by_line = {block.line: block for block in blocks}
    parser = _parser()
    tokens = parser.parse(body)
    _prepare(tokens, file, pictures or {})
    found: list[Part] = []
    waiting: list[Token] = []

    def flush() -> None:
        if waiting:
            # Everything but the text itself was made by the parser, whose rules escape the HTML of a page.
            found.append(Part(Markup(parser.renderer.render(waiting, parser.options, {}))))  # noqa: S704
            waiting.clear()

    for token in _without_title(tokens, title):
        block = by_line.get(token.map[0] + 1) if token.type == "fence" and token.map else None
        if block is not None and token.level == 0:
            flush()
            found.append(Part(block=block))
        else:
            waiting.append(token)
    flush()
    return tuple(found)


def part_of_a_page(source: str) -> Markup:
    """What stands within another page: its headings have no names, for there they may stand more than once."""
    return Markup(_NAMED.sub(r"<h\1", html("", source)))  # noqa: S704 - only names were taken out of it


def html(file: str, source: str, *, title: str = "", pictures: Mapping[str, str] | None = None) -> Markup:
    """A page without blocks that run."""
    return Markup("").join(part.html or "" for part in parts(file, source, title=title, pictures=pictures))


def address(file: str, link: str) -> str:
    """Where a link of a page leads in the console; empty when it is not to be followed."""
    if _SCHEME.match(link):
        return link if _SAFE.match(link) else ""
    if link.startswith("/"):
        return link
    path, mark, fragment = link.partition("#")
    fragment = f"#{_slug(unquote(fragment))}" if mark else ""
    if not path:
        return fragment
    path = path.partition("?")[0]
    target = posixpath.normpath(posixpath.join(posixpath.dirname(file), unquote(path)))
    if target.startswith(".."):
        return ""
    name = re.fullmatch(r"runbooks/(?!drills/)(.+)\.md", target)
    found = f"/runbooks/{quote(name[1])}" if name else f"/handbook/{quote(target)}"
    return found + (fragment if name else "")


def _without_title(tokens: Sequence[Token], title: str) -> Iterator[Token]:
    first = next((index for index, one in enumerate(tokens) if one.type == "heading_open"), None)
    is_title = (
        first is not None
        and tokens[first].markup in {"#", "="}
        and tokens[first + 1].content.strip().casefold() == title.strip().casefold()
    )
    for index, token in enumerate(tokens):
        if not (is_title and first is not None and first <= index <= first + 2):
            yield token


def _prepare(tokens: Sequence[Token], file: str, pictures: Mapping[str, str]) -> None:
    """Headings one level down with names of their own, links that lead somewhere here."""
    used: dict[str, int] = {}
    for index, token in enumerate(tokens):
        if token.type == "heading_open":
            token.attrSet("id", _anchor(tokens[index + 1].content, used))
        if token.type in {"heading_open", "heading_close"}:
            token.tag = _LEVELS[token.tag]
        for number, child in enumerate(token.children or ()):
            if child.type == "text" and not number:
                child.content = _TASK.sub(lambda match: "☐ " if match[1] == " " else "☑ ", child.content)
            if child.type == "link_open":
                _link(child, file)
            elif child.type == "image":
                _picture(child, file, pictures)


def _link(token: Token, file: str) -> None:
    href = address(file, str(token.attrs.get("href", "")))
    token.attrs = {"href": href, "rel": "noreferrer noopener"} if _SCHEME.match(href) else {"href": href}
    if not href:
        token.attrs = {"class": "muted"}


def _picture(token: Token, file: str, pictures: Mapping[str, str]) -> None:
    name = posixpath.normpath(
        posixpath.join(posixpath.dirname(file), unquote(str(token.attrs.get("src", ""))))
    )
    if name in pictures:
        token.attrs = {"src": pictures[name], "alt": "", "loading": "lazy"}
    else:
        token.type, token.tag, token.children = "text", "", None
        token.content = f"[picture: {token.content or name}]"


def _anchor(text: str, used: dict[str, int]) -> str:
    name = _slug(text)
    used[name] = used.get(name, 0) + 1
    return name if used[name] == 1 else f"{name}-{used[name]}"


def _slug(text: str) -> str:
    """The name of a heading; "at-" keeps it apart from what else has a name on the page."""
    return "at-" + (re.sub(r"[^a-z0-9]+", "-", text.casefold()).strip("-")[:60] or "heading")


@cache
def _parser() -> MarkdownIt:
    from markdown_it import MarkdownIt

    made = MarkdownIt("commonmark").enable(["table", "strikethrough"])
    made.add_render_rule("html_block", _foreign)
    made.add_render_rule("html_inline", _foreign)
    made.add_render_rule("fence", _fence)
    made.add_render_rule("code_block", _fence)
    made.add_render_rule(
        "table_open", lambda self, tokens, index, options, env: '<div class="scroll" tabindex="0"><table>'
    )
    made.add_render_rule("table_close", lambda self, tokens, index, options, env: "</table></div>")
    return made


def _fence(self: Any, tokens: Sequence[Token], index: int, options: Any, env: Any) -> str:
    """Code to read. It can be scrolled with the keyboard."""
    del self, options, env
    return str(Markup('<pre class="query" tabindex="0">{}</pre>\n').format(tokens[index].content))


def _foreign(self: Any, tokens: Sequence[Token], index: int, options: Any, env: Any) -> str:
    """HTML, to be read; what is between comment marks is meant for programs."""
    del self, options, env
    said = _COMMENT.sub("", tokens[index].content)
    inline = tokens[index].type == "html_inline"
    if not said.strip():
        return "" if inline else "\n"
    return str(escape(said) if inline else Markup("<p>{}</p>\n").format(said.strip()))
