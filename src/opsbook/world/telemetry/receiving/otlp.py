"""OTLP's requests, as bytes or as JSON, and what all three signals have in common: attributes and resources. Pure."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable, Mapping
from typing import Any, Final, TypeVar

from google.protobuf import json_format
from google.protobuf.message import DecodeError, Message

from opsbook.world.telemetry.receiving.unpacking import Malformed

MOST_ATTRIBUTES: Final = 128  # of a span, an event or a record
LONGEST_ATTRIBUTE: Final = 8192  # characters
_DEEPEST: Final = 64  # nested JSON

M = TypeVar("M", bound=Message)


def read_request(body: bytes, kind: type[M], *, as_json: bool) -> M:
    """A request of `kind`.

    Raises:
        Malformed: it is none.
    """
    found: M = kind()
    try:
        if not as_json:
            found.ParseFromString(body)
            return found
        said = json.loads(body)
        if not isinstance(said, dict):
            raise Malformed("the body is no JSON object", where="body")
        json_format.ParseDict(_with_bytes(said), found, ignore_unknown_fields=True)
        return found
    except DecodeError:
        raise Malformed(f"the body is no {kind.__name__}", where="body") from None
    except (ValueError, TypeError, RecursionError, json_format.ParseError) as error:
        raise Malformed(f"the body is no {kind.__name__} in JSON: {str(error)[:200]}", where="body") from None


_IDS: Final = frozenset({"traceId", "spanId", "parentSpanId", "trace_id", "span_id", "parent_span_id"})


def _with_bytes(value: Any, depth: int = 0) -> Any:
    """OTLP's JSON has ids in hex where protobuf's own has base64."""
    if depth > _DEEPEST:
        raise Malformed("the body is nested too deeply", where="body")
    if isinstance(value, list):
        return [_with_bytes(one, depth + 1) for one in value]
    if not isinstance(value, dict):
        return value
    return {
        name: base64.b64encode(bytes.fromhex(one)).decode()
        if name in _IDS and isinstance(one, str)
        else _with_bytes(one, depth + 1)
        for name, one in value.items()
    }


def attributes_of(pairs: Iterable[Any]) -> dict[str, str]:
    """Attributes as text; of more than `MOST_ATTRIBUTES` the first."""
    found: dict[str, str] = {}
    for pair in pairs:
        if len(found) >= MOST_ATTRIBUTES:
            break
        if pair.key:
            found[pair.key] = text_of(pair.value)
    return found


def text_of(value: Any) -> str:
    """An ``AnyValue`` as a person reads it: text as it is, lists and maps as JSON."""
    kind = value.WhichOneof("value")
    if kind == "string_value":
        return str(value.string_value)[:LONGEST_ATTRIBUTE]
    plain = _plain(value)
    if plain is None:
        return ""
    text = plain if isinstance(plain, str) else json.dumps(plain, ensure_ascii=False, separators=(",", ":"))
    return text[:LONGEST_ATTRIBUTE]


def _plain(value: Any) -> Any:
    kind = value.WhichOneof("value")
    match kind:
        case "string_value" | "bool_value" | "int_value" | "double_value":
            return getattr(value, kind)
        case "bytes_value":
            return base64.b64encode(value.bytes_value).decode()
        case "array_value":
            return [_plain(one) for one in value.array_value.values]
        case "kvlist_value":
            return {one.key: _plain(one.value) for one in value.kvlist_value.values}
    return None


_PLACES: Final[Mapping[str, tuple[str, ...]]] = {
    "service": ("service.name",),
    "environment": ("deployment.environment.name", "deployment.environment"),
    "instance": ("service.instance.id", "host.name"),
    "version": ("service.version",),
    "release": ("opsbook.release",),
}


def place_of(resource: Mapping[str, str]) -> dict[str, str]:
    """Who speaks, in the words of opsbook's labels; what is not said is empty."""
    return {
        label: next((resource[name] for name in names if resource.get(name)), "")
        for label, names in _PLACES.items()
    }
