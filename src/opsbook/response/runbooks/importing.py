"""Foreign Markdown, taken over: no block of it gets a role, and what a person must decide is listed.

A block runs only once somebody writes a role behind its language. The import never does; it even takes one away that
stands there by chance.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from opsbook.book.runbook_pages import read_runbook
from opsbook.book.runbook_parameters import is_reserved
from opsbook.book.runbooks import ROLES

_OPENS = re.compile(r"^(?P<indent>[ \t>]*(?:[-*+] |\d+[.)] )?[ \t]*)(?P<marks>`{3,}|~{3,})(?P<info>[^\n]*)$")
_PROMPT = re.compile(r"^[ \t]*(?:\$|#|>|%|[\w.-]+@[\w.-]+[^$#]*[$#])[ \t]+(?=\S)")
_PLACEHOLDER = re.compile(r"<([A-Za-z][A-Za-z0-9 _.-]{0,40})>|\{\{\s*([A-Za-z]\w{0,40})\s*\}\}")
_HTML = {
    "br",
    "p",
    "b",
    "i",
    "a",
    "div",
    "img",
    "code",
    "pre",
    "details",
    "summary",
    "table",
    "tr",
    "td",
    "th",
    "hr",
    "li",
    "ul",
}
_SAID_BY_PROGRAMS = {"none", "nil", "unset", "unknown", "pending", "invalid", "empty", "null"}
_SHELLS = {"", "bash", "sh", "shell", "console", "shell-session", "zsh", "terminal"}
_SESSION = {"console", "shell-session", "terminal"}


@dataclass(frozen=True, slots=True)
class Note:
    """What a person must decide. `line` is of the foreign page."""

    line: int
    text: str


@dataclass(frozen=True, slots=True)
class Imported:
    """The page as it would be written."""

    name: str
    text: str
    blocks: int
    params: tuple[str, ...]
    notes: tuple[Note, ...]

    def to_json(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "blocks": self.blocks,
            "params": list(self.params),
            "notes": [{"line": note.line, "text": note.text} for note in self.notes],
        }


def imported(stem: str, content: bytes, taken: Collection[str] = ()) -> Imported:
    """Take over one page, whatever it is. Never fails."""
    text = content.decode("utf-8-sig", "replace").replace("\r\n", "\n").replace("\r", "\n").replace("\0", "")
    notes: list[Note] = []
    if "\N{REPLACEMENT CHARACTER}" in text:
        notes.append(Note(1, "it was no UTF-8 text: some characters are lost"))
    reading = _Reading(notes)
    lines = reading.lines(text.split("\n"))
    name = _name(stem, taken)
    if reading.params:
        names, first = ", ".join(reading.params), next(iter(reading.params.values()))
        notes.append(
            Note(
                1,
                f"placeholders that could be parameters: {names}; scripts would read ${first}",
            )
        )
    written = "\n".join(lines)
    page, _, _ = read_runbook(name, written.encode("utf-8", "surrogatepass"))
    if page is None or page.blocks:
        # Something in it still looks as if it might run: then none of it is a fence any more.
        written = "\n".join(re.sub(r"`{3,}|~{3,}", "'''", line) for line in lines)
        notes.append(Note(1, "its blocks could not be told apart for sure, and were made plain text"))
    return Imported(name, written, reading.blocks, tuple(reading.params), tuple(notes))


class _Reading:
    def __init__(self, notes: list[Note]) -> None:
        self._notes = notes
        self.blocks = 0
        self.params: dict[str, str] = {}

    def lines(self, lines: list[str]) -> list[str]:
        out: list[str] = []
        at = 0
        while at < len(lines):
            match = _OPENS.match(lines[at])
            if match is None or (match["marks"][0] == "`" and "`" in match["info"]):
                out.append(self._harmless(lines[at]))
                at += 1
                continue
            end = next((i for i in range(at + 1, len(lines)) if _ends(lines[i], match["marks"])), len(lines))
            out += self._block(match, lines[at + 1 : end], at + 1, closed=end < len(lines))
            at = end + 1
        return out

    def _block(self, match: re.Match[str], body: list[str], line: int, *, closed: bool) -> list[str]:
        self.blocks += 1
        info = match["info"].split()
        language = info[0] if info else ""
        indent, marks = match["indent"], match["marks"]
        if len(info) > 1 and info[1] in ROLES:
            self._notes.append(
                Note(line, f'the word "{info[1]}" behind {language} was taken away: it would have run')
            )
            info = [language]
        if not closed:
            self._notes.append(Note(line, "the block was never closed; it is now, at the end of the page"))
        if language.lower() in _SHELLS:
            self._look(body, line, is_session=language.lower() in _SESSION)
        inner = [self._harmless(one, inside=True) for one in body]
        return [f"{indent}{marks}{' '.join(info)}", *inner, re.sub(r"[^ \t>]", " ", indent) + marks]

    def _look(self, body: list[str], line: int, *, is_session: bool) -> None:
        prompts = [one for one in body if _PROMPT.match(one)]
        others = [one for one in body if one.strip() and not _PROMPT.match(one)]
        if prompts and (is_session or prompts[0].lstrip().startswith("$")):
            commands = "; ".join(_PROMPT.sub("", one).strip() for one in prompts)[:160]
            output = f"; {len(others)} lines look like output" if others else ""
            self._notes.append(Note(line, f"commands behind prompts: {commands}{output}"))
        elif any(one.strip() for one in body):
            first = next(one for one in body if one.strip()).strip()[:100]
            self._notes.append(Note(line, f"does this run, look, or only show? {first}"))
        for one in body:
            for match in _PLACEHOLDER.finditer(one):
                self._placeholder((match[1] or match[2]).strip(), line)

    def _placeholder(self, said: str, line: int) -> None:
        name = re.sub(r"[^a-z0-9]+", "_", said.lower()).strip("_")
        if said.lower() in _HTML | _SAID_BY_PROGRAMS or not name or name in self.params:
            return
        self.params[name] = f"{'MY_' if is_reserved(name) else ''}{name.upper()}"
        self._notes.append(Note(line, f"<{said}> would be read by a shell as a file: a parameter {name}?"))

    def _harmless(self, line: str, *, inside: bool = False) -> str:
        """A line that might be taken for a fence with a role is kept from being one."""
        found = re.match(rf"([ \t>]*)(`{{3,}}|~{{3,}})(.*\b(?:{'|'.join(ROLES)})\b.*)$", line)
        if found is None:
            return line
        return f"{found[1]}{'' if inside else chr(92)}{chr(39) * 3 if inside else found[2]}{found[3]}"


def _ends(line: str, marks: str) -> bool:
    plain = re.sub(r"^[ \t>]*", "", line).rstrip()
    return len(plain) >= len(marks) and set(plain) == {marks[0]}


def _name(stem: str, taken: Collection[str]) -> str:
    base = re.sub(r"[^a-z0-9]+", "-", stem.lower()).strip("-")[:50].strip("-")
    base = base if base[:1].isalpha() else f"page-{base}".strip("-")
    name, number = base, 1
    while name in taken:
        number += 1
        name = f"{base}-{number}"
    return name
