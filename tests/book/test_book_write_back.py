"""Writing one value changes one line and nothing else."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from opsbook.book import FolderFiles, TextFiles, load, plan_version_change, set_value
from opsbook.book.document import parse
from opsbook.errors import Invalid, NotFound

SHOP = FolderFiles(Path(__file__).parent / "good" / "shop")
WEB = ("services", "web", "version")

SHAPES = {
    "flow": 'services:\n  web: {version: "2.1", replicas: 2}   # the shop\n',
    "flow without": "services:\n  web: { replicas: 2 } # the shop\n",
    "flow empty": "services:\n  web: {}\n",
    "flow with a comma": "services:\n  web: {replicas: 2, }\n",
    "flow over lines": "services:\n  web: {\n    replicas: 2,   # two\n    env: {A: b}    # one\n  }\n",
    "all flow": "{services: {web: {replicas: 2}}}\n",
    "block": "services:\n    web:\n        version:   '2.1'   # what runs\n\n        replicas: 2\n    api: {}\n",
    "block without": "services:\n  web:\n    replicas: 2   # two\n\n  # the next one\n  api: {}\n",
    "block ends in a list": "services:\n  web:\n    run:\n      command:\n      - a\n      - b  # last\n  api: {}\n",
    "block ends in text": "services:\n  web:\n    note: |\n      two\n      lines\n\n  api: {}\n",
    "null": "services:\n  web:\n  api: {}\n",
    "null with a comment": "services:\n  web:   # the shop\n  api: {}\n",
    "tilde": "services:\n  web: ~\n",
    "no last line end": "services:\n  web:\n    replicas: 2",
    "windows": "services:\r\n  web:\r\n    replicas: 2\r\n  api: {}\r\n",
    "byte order mark": "\ufeffservices:\n  web: {version: \"1\"}\n",
    "unquoted": "services:\n  web: {version: v2}\n",
    "version is null": "services:\n  web: {version: , replicas: 1}\n",
    "version has no colon": "services:\n  web: {version, replicas: 1}\n",
    "folded": "services:\n  web:\n    version: >-\n      2.1\n    replicas: 2\n",
    "beyond ASCII": "# Größe 🙂\nservices:\n  web: {note: 'ü🙂', version: \"1\"}  # 🙂\n",
}  # fmt: skip


def data(text: str) -> object:
    document, problems = parse("x", text.encode())
    assert document is not None
    assert problems == []
    return document.data


def without_line_of_change(before: str, after: str) -> tuple[list[str], list[str]]:
    """The lines before and after the one place where the texts differ."""
    old, new = before.splitlines(keepends=True), after.splitlines(keepends=True)
    while old and new and old[0] == new[0]:
        del old[0], new[0]
    while old and new and old[-1] == new[-1]:
        del old[-1], new[-1]
    return old, new


@pytest.mark.parametrize("shape", SHAPES)
def test_every_shape_of_a_file_takes_a_version(shape: str) -> None:
    """However the mapping is written, one line is changed or added and the value is there."""
    before = SHAPES[shape]
    after = set_value(before, WEB, "3.0")
    old, new = without_line_of_change(before, after)

    assert data(after)["services"]["web"]["version"] == "3.0"  # type: ignore[index]
    assert len(new) <= (2 if shape == "no last line end" else 1)
    assert len(old) <= (2 if shape == "folded" else 1)
    assert before.count("#") == after.count("#")
    assert before.startswith("\ufeff") == after.startswith("\ufeff")
    assert ("\r\n" in before) == ("\r\n" in after)
    assert "\r" not in after.replace("\r\n", "")


def test_quotes_stay_as_they_were() -> None:
    """A value keeps its quotes; text that needs them gets them."""
    assert set_value("a: '2.1'  # c\n", ("a",), "2.2") == "a: '2.2'  # c\n"
    assert set_value('a: "2.1"\n', ("a",), "2.2") == 'a: "2.2"\n'
    assert set_value("a: v2\n", ("a",), "v3") == "a: v3\n"
    assert set_value("a: v2\n", ("a",), "2.2") == 'a: "2.2"\n'
    assert set_value("a: v2\n", ("a",), "no") == 'a: "no"\n'
    assert set_value(set_value("a: 2\nb: true\n", ("a",), 3), ("b",), False) == "a: 3\nb: false\n"


def test_missing_keys_are_added_where_they_belong() -> None:
    """What is missing is added at the end of the mapping that lacks it, with all that is below."""
    assert set_value("a: 1\n", ("b", "c", "d"), "x") == 'a: 1\nb: {c: {d: "x"}}\n'
    assert (
        set_value("a:\n  - {b: 1}\n  - c: 2\n", ("a", 1, "d"), "x")
        == 'a:\n  - {b: 1}\n  - c: 2\n    d: "x"\n'
    )


@pytest.mark.parametrize(
    ("text", "path", "message"),
    [
        ("a: {b: 1}\n", ("a",), "expected a single value, got a mapping"),
        ("a: [1]\n", ("a", 3), "no entry 3"),
        ("a: 1\n", ("a", "b"), "expected a mapping"),
        ("- a\n", ("a",), "expected a mapping"),
        ("a: &x 1\nb: *x\n", ("a",), "anchors"),
        ("a: [\n", ("a",), "expected|closed|read"),
        ("a: 1\n", ("a",), "finite"),
    ],
)
def test_refuses_what_it_cannot_do(text: str, path: tuple[str | int, ...], message: str) -> None:
    """What is no single value, or no handbook YAML, is refused in plain words."""
    with pytest.raises(Invalid, match=message):
        set_value(text, path, float("inf") if message == "finite" else "x")


def test_the_version_of_an_environment_is_written() -> None:
    """The plan is the file and its new text; the book that is read from it runs that version."""
    path, text = plan_version_change(SHOP, "production", "web", "2.2")
    old, new = without_line_of_change(SHOP.read(path).decode(), text)
    files = TextFiles({name: SHOP.read(name) for name in SHOP.paths()} | {path: text.encode()})

    assert path == "environments/production.yaml"
    assert (old, new) == (
        ['  web: {version: "2.1", replicas: 2, strategy: canary, env: {LOG_LEVEL: warning}}\n'],
        ['  web: {version: "2.2", replicas: 2, strategy: canary, env: {LOG_LEVEL: warning}}\n'],
    )
    assert load(files).effective("production", "web").version == "2.2"


def test_a_version_can_be_written_where_there_was_none() -> None:
    """A service listed with nothing after it takes a version too."""
    _, text = plan_version_change(SHOP, "staging", "web", "2.2")

    assert '  web: {version: "2.2"}\n' in text


def test_a_version_is_written_only_where_the_service_is() -> None:
    """An unknown environment or service is told, with the nearest."""
    with pytest.raises(NotFound, match="no environment test"):
        plan_version_change(SHOP, "test", "web", "1")
    with pytest.raises(NotFound) as raised:
        plan_version_change(SHOP, "production", "wbe", "1")

    assert raised.value.hint == 'did you mean "web"?'


scalars = st.one_of(st.text(max_size=12), st.integers(-(10**9), 10**9), st.booleans(), st.none())
keys = st.from_regex(r"[a-z]{1,4}", fullmatch=True)
trees = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(keys, inner, max_size=3)
)


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    tree=st.dictionaries(keys, trees, min_size=1, max_size=4),
    key=keys,
    value=scalars,
    flow=st.sampled_from([True, False, None]),
)
def test_only_the_place_changes(tree: dict[str, object], key: str, value: object, flow: bool | None) -> None:
    """For any document: the value is written, the rest is the same, and only lines of that place differ."""
    text = yaml.safe_dump(tree, default_flow_style=flow, allow_unicode=True, width=10_000, sort_keys=False)
    text = "# first\n" + text + "# last\n"
    document, problems = parse("x", text.encode("utf-8", "surrogatepass"))
    if document is None or problems or isinstance(tree.get(key), dict | list):
        return
    after = set_value(text, (key,), value)  # type: ignore[arg-type]
    old, new = without_line_of_change(text, after)

    assert {**document.data, key: value} == data(after)
    assert len(new) <= 1 or key in tree
    assert key not in tree or not old or old[0].lstrip("{ ").startswith((key, f"'{key}", f'"{key}')) or flow
