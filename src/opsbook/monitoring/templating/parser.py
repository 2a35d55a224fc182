"""From words to a tree."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Any

from opsbook.monitoring.templating.lexer import Piece, Word, pieces
from opsbook.monitoring.templating.model import (
    Branch,
    Call,
    Chain,
    Constant,
    Dot,
    Function,
    Jump,
    Node,
    Operand,
    Pipeline,
    Print,
    TemplateError,
    Text,
    Variable,
)  # fmt: skip

_DEEPEST = 50  # levels of blocks and of brackets
_ESCAPES = {
    "n": "\n",
    "t": "\t",
    "r": "\r",
    "\\": "\\",
    '"': '"',
    "'": "'",
    "a": "\a",
    "b": "\b",
    "f": "\f",
    "v": "\v",
}
_KEYWORDS = {"true": True, "false": False, "nil": None}

Body = tuple[Node, ...]


def parse(template: str, functions: Collection[str], variables: Collection[str] = ()) -> Mapping[str, Body]:
    """The tree of a template, under the name ``""``, and those it defines under theirs.

    Args:
        functions: the names that may be called. variables: those that are there from the beginning.

    Raises:
        TemplateError: with the line.
    """
    parser = _Parser(pieces(template), functions, variables)
    parser.templates[""] = parser.body("")[0]
    return parser.templates


class _Parser:
    def __init__(
        self, found: Iterator[Piece], functions: Collection[str], variables: Collection[str]
    ) -> None:
        self.templates: dict[str, Body] = {}
        self.functions = functions
        self.variables = ["", *variables]  # in scope
        self._pieces = found
        self._depth = 0
        self._loops = 0

    def body(self, block: str) -> tuple[Body, tuple[Word, ...]]:
        """Nodes up to the ``end`` or ``else`` of `block` (empty: the whole template), and the words that ended it."""
        nodes: list[Node] = []
        self._depth += 1
        if self._depth > _DEEPEST:
            raise TemplateError(f"more than {_DEEPEST} blocks within each other")
        scope = len(self.variables)
        for piece in self._pieces:
            if piece.words is None:
                nodes.append(Text(piece.text))
                continue
            word = piece.words[0].text if piece.words else ""
            if word in ("end", "else"):
                if not block:
                    raise TemplateError(f"unexpected {word}", where=f"line {piece.line}")
                break
            node = self._node(word, piece)
            if node is not None:
                nodes.append(node)
        else:
            if block:
                raise TemplateError(f"{block} has no end", hint="{{ end }}")
            piece = Piece("", (), 0)
        del self.variables[scope:]
        self._depth -= 1
        return tuple(nodes), piece.words or ()

    def _node(self, word: str, piece: Piece) -> Node | None:
        words = _Words(piece.words or (), piece.line)
        match word:
            case "if" | "with" | "range":
                words.next()
                return self._branch(word, words)
            case "define" | "block":
                words.next()
                name = self._string(words)
                pipeline = self._pipeline(words) if word == "block" else None
                scope, self.variables = self.variables, [""]
                self.templates[name], _ = self.body(word)
                self.variables = scope
                return Call(name, pipeline) if word == "block" else None
            case "template":
                words.next()
                name = self._string(words)
                return Call(name, self._pipeline(words) if words.more() else None)
            case "break" | "continue":
                if not self._loops:
                    raise words.wrong(f"{word} outside of range")
                return Jump(word)
            case _:
                if not words.more():
                    raise words.wrong("missing value for command")
                return Print(self._pipeline(words))

    def _branch(self, kind: str, words: _Words) -> Node:
        scope = len(self.variables)
        pipeline = self._pipeline(words, most=2 if kind == "range" else 1)
        self._loops += kind == "range"
        body, ended = self.body(kind)
        self._loops -= kind == "range"
        otherwise: Body = ()
        if ended[0].text == "else":
            if len(ended) > 1:  # else if, else with
                inner = _Words(ended[1:], ended[0].line)
                other = inner.next().text
                if other not in ("if", "with"):
                    raise inner.wrong(f"unexpected {other} after else")
                otherwise = (self._branch(other, inner),)
            else:
                otherwise, ended = self.body(kind)
                if ended[0].text == "else":
                    raise TemplateError("a second else", where=f"line {ended[0].line}")
        del self.variables[scope:]
        return Branch(kind, pipeline, body, otherwise)

    def _string(self, words: _Words) -> str:
        word = words.next()
        if word.kind not in ("string", "raw"):
            raise words.wrong(f"expected a name in quotes, got {word.text}")
        return str(_constant(word, words))

    def _pipeline(self, words: _Words, *, most: int = 1, closing: bool = False) -> Pipeline:
        names, declares = self._bound(words, most)
        commands: list[tuple[Operand, ...]] = []
        while True:
            operands = self._command(words, closing=closing)
            if not operands:
                raise words.wrong("missing value for command")
            if commands and not isinstance(operands[0], Function | Dot | Variable | Chain):
                raise words.wrong("a value cannot be handed to something that is no function")
            commands.append(operands)
            if not words.more() or words.peek().text != "|":
                break
            words.next()
        if closing:
            if not words.more() or words.next().text != ")":
                raise words.wrong("a bracket is not closed")
        elif words.more():
            raise words.wrong(f"unexpected {words.peek().text}")
        if declares:
            self.variables += names
        return Pipeline(tuple(commands), tuple(names), declares)

    def _bound(self, words: _Words, most: int) -> tuple[list[str], bool]:
        """``$name :=``, ``$name =``, ``$key, $value :=``"""
        shape = [word.text if word.kind == "sign" else word.kind for word in words.ahead(4)]
        count = 2 if shape[:3] == ["variable", ",", "variable"] else 1
        sign = shape[count * 2 - 1] if len(shape) >= count * 2 else ""
        if shape[:1] != ["variable"] or sign not in (":=", "="):
            return [], False
        if count > most:
            raise words.wrong(
                "too many variables",
            )
        names = [word.text[1:] for word in words.ahead(count * 2) if word.kind == "variable"]
        for _ in range(count * 2):
            words.next()
        unknown = [name for name in names if sign == "=" and name not in self.variables]
        if unknown:
            raise words.wrong(f"undefined variable ${unknown[0]}")
        return names, sign == ":="

    def _command(self, words: _Words, *, closing: bool) -> tuple[Operand, ...]:
        operands: list[Operand] = []
        while words.more():
            word = words.peek()
            if word.text == "|" or (closing and word.text == ")"):
                break
            words.next()
            operands.append(self._operand(word, words))
        return tuple(operands)

    def _operand(self, word: Word, words: _Words) -> Operand:
        match word.kind:
            case "field":
                return Dot((word.text[1:], *words.fields()))
            case "variable":
                name = word.text[1:]
                if name not in self.variables:
                    raise words.wrong(f"undefined variable ${name}")
                return Variable(name, words.fields())
            case "name" if word.text in _KEYWORDS:
                return Constant(_KEYWORDS[word.text])
            case "name":
                if word.text not in self.functions:
                    raise words.wrong(f"function {word.text!r} not defined")
                return Function(word.text)
            case "sign" if word.text == ".":
                return Dot()
            case "sign" if word.text == "(":
                self._depth += 1
                if self._depth > _DEEPEST:
                    raise words.wrong(f"more than {_DEEPEST} brackets within each other")
                pipeline = self._pipeline(words, closing=True)
                self._depth -= 1
                return Chain(pipeline, words.fields())
            case "string" | "raw" | "char" | "number":
                return Constant(_constant(word, words))
            case _:
                raise words.wrong(f"unexpected {word.text}")


class _Words:
    """The words of one action, read from the front."""

    def __init__(self, words: tuple[Word, ...], line: int) -> None:
        self._words = words
        self._line = line
        self._at = 0

    def more(self) -> bool:
        return self._at < len(self._words)

    def peek(self) -> Word:
        return self._words[self._at]

    def ahead(self, count: int) -> tuple[Word, ...]:
        return self._words[self._at : self._at + count]

    def next(self) -> Word:
        if not self.more():
            raise self.wrong("the action ends too early")
        self._at += 1
        return self._words[self._at - 1]

    def fields(self) -> tuple[str, ...]:
        """``.A.B`` right behind what was read last."""
        found = []
        while self.more() and self.peek().kind == "field" and self.peek().glued:
            found.append(self.next().text[1:])
        return tuple(found)

    def wrong(self, message: str) -> TemplateError:
        return TemplateError(message, where=f"line {self._line}")


def _constant(word: Word, words: _Words) -> Any:
    text = word.text
    match word.kind:
        case "raw":
            return text[1:-1]
        case "string":
            return _unescaped(text[1:-1], words)
        case "char":
            return ord(_unescaped(text[1:-1], words))
    try:
        bare = text.replace("_", "")
        if any(sign in bare for sign in ".eE") and not bare.lstrip("+-").lower().startswith("0x"):
            return float(bare)
        return int(bare, 0) if not bare.lstrip("+-").isdigit() else int(bare)
    except ValueError:
        raise words.wrong(f"{text} is no number") from None


def _unescaped(text: str, words: _Words) -> str:
    found, index = [], 0
    lengths = {"x": 2, "u": 4, "U": 8}
    while index < len(text):
        character = text[index]
        index += 1
        if character != "\\":
            found.append(character)
            continue
        kind = text[index] if index < len(text) else ""
        index += 1
        if kind in lengths:
            digits = text[index : index + lengths[kind]]
            index += lengths[kind]
        elif kind.isdigit():
            digits = (
                f"{int(text[index - 1 : index + 2], 8):x}" if text[index - 1 : index + 2].isdigit() else ""
            )
            index += 2
        elif kind in _ESCAPES:
            found.append(_ESCAPES[kind])
            continue
        else:
            raise words.wrong(f"unknown escape \\{kind}")
        try:
            found.append(chr(int(digits, 16)))
        except (ValueError, OverflowError):
            raise words.wrong(f"unknown escape \\{kind}{digits}") from None
    return "".join(found)
