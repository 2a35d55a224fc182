"""Whatever the files hold, reading them gives a book or a HandbookError."""

from __future__ import annotations

import contextlib

from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from opsbook.book import HandbookError, TextFiles, load, load_or_problems

PATHS = (
    "opsbook.yaml",
    "services/web.yaml",
    "environments/local.yaml",
    "deployment/strategies.yaml",
    "deployment/pipeline.yaml",
    "deployment/freezes.yaml",
    "deployment/checklist.md",
    "security/roles.yaml",
    "runbooks/a.md",
)
WORDS = (
    "service", "web", "run", "command", "port", "http", "tcp", "environment", "local", "entry",
    "services", "health", "path", "/", "strategies", "canary", "steps", "weight", "10%", "hold", "5m",
    "name", "shop", "contacts", "members", "1", "-1", "1.5", "true", "no", "{port}", "{url:web}", "{x}",
    "", "~", "depends_on", "route", "env", "A", "protect", "approvers", "promote_from", "type",
    "rolling", "max_surge",
    "rollingUpdate", "maxSurge", "analysis", "metric", "error_rate", "pin", "hooks",
    "before", "freezes", "reason", "from", "until", "weekly", "days", "16:00", "2026-12-20T00:00", "except",
    "roles", "viewer", "environments", "deploy", "strategy", "owner", "channels", "url", "a://b",
    "review", "version", "replicas",
)  # fmt: skip
calmly = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
values = st.recursive(
    st.sampled_from(WORDS) | st.integers() | st.floats() | st.booleans() | st.none(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(WORDS), inner, max_size=6),
    max_leaves=30,
)


def only_a_handbook_error(files: dict[str, bytes]) -> None:
    _, problems = load_or_problems(TextFiles(files))
    for problem in problems:
        assert problem.message
        assert "\n" not in str(problem)
        assert 0 <= problem.line <= files.get(problem.file, b"").count(b"\n") + 200
    with contextlib.suppress(HandbookError):
        load(TextFiles(files))


@calmly
@given(st.dictionaries(st.sampled_from(PATHS), st.binary(max_size=200)))
@example({"opsbook.yaml": b"[" * 200_000})
@example({"opsbook.yaml": b"{" * 200_000})
@example({"opsbook.yaml": b"- " * 200_000})
@example({"opsbook.yaml": b"? " * 100_000})
@example({"opsbook.yaml": b"\xff\xfea\x00:\x00"})
@example({"opsbook.yaml": b'name: "\\ud800"'})
@example({"opsbook.yaml": b"%YAML 3.0\n---\nname: shop\n"})
@example({"opsbook.yaml": b"%TAG ! tag:x:\n---\nname: !a shop\n"})
@example({"opsbook.yaml": b"name: " + b"9" * 10_000})
@example({"opsbook.yaml": b"a: 1\n" * 300_000})
@example({"opsbook.yaml": b"? [a]\n: b\n"})
@example({"opsbook.yaml": b"? {a: b}\n: c\n"})
@example({"runbooks/a.md": b"---\nreviewed: 9999-99-99\nreview_every: 99999w\n"})
def test_any_bytes(files: dict[str, bytes]) -> None:
    """Bytes of any kind, in any file."""
    only_a_handbook_error(files)


@calmly
@given(st.dictionaries(st.sampled_from(PATHS), st.text(max_size=200)))
def test_any_text(texts: dict[str, str]) -> None:
    """Text of any kind, in any file."""
    only_a_handbook_error({path: text.encode("utf-8", "surrogatepass") for path, text in texts.items()})


@calmly
@given(st.dictionaries(st.sampled_from(PATHS), values))
def test_any_values(files: dict[str, object]) -> None:
    """Values of any shape made of the format's own words."""
    import yaml

    only_a_handbook_error({path: yaml.safe_dump(value).encode() for path, value in files.items()})
