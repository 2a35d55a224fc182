"""Queries, laid out."""

from __future__ import annotations

import promql_parser as library

from opsbook.promql.parsing import parse
from opsbook.promql.quoting import requote


def pretty(text: str) -> str:
    """The query with line breaks and indentation where it is long.

    Raises:
        Invalid: it does not parse.
    """
    parse(text)
    prepared, _ = requote(text, where=text)
    return str(library.parse(prepared).prettify())
