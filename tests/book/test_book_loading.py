"""A good handbook becomes a book whose parts answer questions."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import FrozenInstanceError
from datetime import date
from pathlib import Path

import pytest
from pydantic import ValidationError

from opsbook.book import (
    Book,
    CountOrShare,
    FolderFiles,
    HandbookError,
    TextFiles,
    dependency_order,
    differences,
    load,
    load_or_problems,
)  # fmt: skip
from opsbook.errors import Invalid, NotFound

GOOD = Path(__file__).parent / "good"
SHOP = FolderFiles(GOOD / "shop")
EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.fixture(scope="module")
def shop() -> Book:
    return load(SHOP)


def book_of(*services: str, environment: str = "", **files: str) -> Book:
    """A book of services given as the rest of their files, all in one environment."""
    texts = {"opsbook.yaml": "name: shop\n", **files}
    for service in services:
        name, _, rest = service.partition(": ")
        texts[f"services/{name}.yaml"] = f"service: {name}\n{rest}\n"
    listed = "".join(f"  {service.partition(': ')[0]}:\n" for service in services)
    texts["environments/local.yaml"] = "environment: local\nentry: {port: 8080}\n" + (
        environment or (f"services:\n{listed}" if listed else "")
    )
    return load(TextFiles.of(texts))


def test_a_handbook_of_one_service_is_short() -> None:
    """Fifteen lines are a whole handbook, with every default decided."""
    book = book_of('web: run: {command: [serve, "{port}"], port: http}')
    web = book.effective("local", "web")

    assert web.command == ("serve", "{port}")
    assert (
        web.health.kind, web.health.interval, web.health.timeout, web.health.start_timeout, web.health.unhealthy_after
    ) == ("tcp", 2.0, 2.0, 60.0, 3)  # fmt: skip
    assert (web.replicas, web.version, web.strategy.name, web.stop_grace) == (1, None, "blue-green", 10.0)
    assert web.route is not None
    assert (web.route.host, web.route.path, web.route.strip_prefix, web.route.timeout) == (
        None,
        "/",
        False,
        15.0,
    )


def test_the_example_of_the_format_is_read(shop: Book) -> None:
    """Names, contacts, channels and environments of the documented example, in promotion order."""
    assert (shop.name, shop.owner, shop.review, shop.write_back) == ("shop", "team-shop", 90 * 86400.0, True)
    assert list(shop.environments) == ["staging", "production"]
    assert frozenset({"alice"}) == shop.people("team-shop")
    assert shop.channels["ops-alerts"].url == "slack://{secret:slack}/#ops-alerts"
    assert (str(GOOD / "shop"), "") == (shop.where, shop.commit)


def test_effective_values_are_the_services_under_the_environments(shop: Book) -> None:
    """Environment values win, variables are merged, everything else is the service's own."""
    web = shop.effective("production", "web")
    worker = shop.effective("production", "worker")
    postgres = shop.effective("production", "postgres")

    assert web.env == {
        "DATABASE_URL": "{secret:database-url}",
        "DATABASE": "{url:postgres}",
        "LOG_LEVEL": "warning",
    }
    assert (web.version, web.replicas, web.strategy.type) == ("2.1", 2, "canary")
    assert (web.health.kind, web.health.path) == ("http", "/healthz")
    assert (web.resources.cpu, web.resources.memory) == (0.5, 256 * 1024**2)
    assert (
        worker.command, worker.env, worker.stop_grace
    ) == (("python", "-m", "shop.worker", "--all"), {"LOG_LEVEL": "info"}, 60.0)  # fmt: skip
    assert (worker.health.kind, worker.route, worker.strategy.type) == ("alive", None, "recreate")
    assert postgres.route is not None
    assert (postgres.route.port, postgres.resources.memory, postgres.strategy.name) == (
        5432,
        2 * 1024**3,
        "recreate",
    )


def test_rendered_holds_what_an_instance_is_started_with(shop: Book) -> None:
    """Secrets stay names; version, replicas, route and strategy are no part of it."""
    rendered = shop.effective("production", "web").rendered()

    assert {"service", "command", "image", "env", "port", "health", "resources", "user"} == rendered.keys()
    assert rendered["env"]["DATABASE_URL"] == "{secret:database-url}"
    assert rendered["image"] is None
    assert {("port", ""), ("secret", "database-url"), ("url", "postgres")} == {
        (p.kind, p.name) for p in shop.effective("production", "web").placeholders()
    }


def test_canary_is_read_as_written(shop: Book) -> None:
    """Weights are ratios, holds seconds, limits in the unit of their metric."""
    canary = shop.strategies["canary"]

    assert [(step.weight, step.hold) for step in canary.steps] == [(0.1, 1800.0), (0.5, 600.0)]
    assert [(rule.metric, rule.max, rule.compare) for rule in canary.analysis] == [
        ("error_rate", 0.01, None),
        ("response_time_p95", 0.5, None),
        ("error_rate", None, "stable"),
    ]
    assert (
        canary.rollback_on, canary.keep_previous, canary.drain_timeout
    ) == (("analysis", "health", "alert:critical"), 600.0, 30.0)  # fmt: skip


def test_built_in_strategies_are_always_there() -> None:
    """Without a strategies.yaml there are four, each with the defaults of its kind."""
    strategies = book_of().strategies

    assert list(strategies) == ["blue-green", "rolling", "recreate", "canary"]
    assert [strategy.keep_previous for strategy in strategies.values()] == [600.0, 0.0, 0.0, 600.0]
    assert (CountOrShare(count=1), CountOrShare(count=0)) == (
        strategies["rolling"].max_surge, strategies["rolling"].max_unavailable
    )  # fmt: skip
    assert (strategies["rolling"].crash_loop.restarts, strategies["rolling"].crash_loop.within) == (3, 60.0)
    assert strategies["blue-green"].rollback_on == ("analysis", "health", "crash")
    assert strategies["canary"].steps
    assert strategies["canary"].analysis


def test_a_strategy_completes_the_built_in_one(shop: Book) -> None:
    """What a strategy does not write is that of its type, whatever its own name."""
    careful = shop.strategies["careful"]

    assert ("careful", "rolling", CountOrShare(ratio=0.25), 10.0, 60.0) == (
        careful.name, careful.type, careful.max_surge, careful.ready_for, careful.watch
    )  # fmt: skip


def test_http_services_that_share_an_environment_get_a_prefix() -> None:
    """One HTTP service gets everything; of several, each without a route gets its name, stripped."""
    book = book_of(
        "api: run: {command: [a], port: http}",
        "web: run: {command: [a], port: http}\nroute: {host: shop.example.com}",
        "admin: run: {command: [a], port: http}\nroute: {path: /manage/}",
        "cache: run: {command: [a], port: tcp}",
    )
    routes = {name: service.route for name, service in book.effective_services("local").items()}

    assert {
        name: route and (route.host, route.path, route.strip_prefix) for name, route in routes.items()
    } == {
        "api": (None, "/api", True),
        "web": ("shop.example.com", "/", False),
        "admin": (None, "/manage", False),
        "cache": (None, "/", False),
    }


def test_overrides_replace_single_keys() -> None:
    """An override of health or route changes what it writes; another kind of check replaces the first."""
    book = book_of(
        "web: run: {command: [a], port: http, user: www}\n"
        "health: {path: /ok, interval: 5s}\nroute: {path: /a, timeout: 3s}\nresources: {cpu: 2, memory: 1Gi}",
        environment="services:\n  web:\n    health: {command: [check]}\n    route: {timeout: none}\n"
        "    resources: {cpu: 500m}\n    run: {user: nobody}\n",
    )
    web = book.effective("local", "web")

    assert (
        web.health.kind, web.health.command, web.health.path, web.health.interval
    ) == ("command", ("check",), None, 5.0)  # fmt: skip
    assert web.route is not None
    assert (web.route.path, web.route.timeout) == ("/a", None)
    assert (web.resources.cpu, web.resources.memory, web.user) == (0.5, 1024**3, "nobody")


def test_nothing_of_a_book_can_be_changed(shop: Book) -> None:
    """A book is read from many threads: assignments are refused."""
    with pytest.raises(FrozenInstanceError):
        shop.name = "other"  # type: ignore[misc]
    with pytest.raises(TypeError):
        shop.services["web"] = shop.services["worker"]  # type: ignore[index]
    with pytest.raises(ValidationError):
        shop.services["web"].owner = "bob"


def test_unknown_names_are_told_with_the_nearest() -> None:
    """Asking for what is not there names what was probably meant."""
    book = load(SHOP)

    with pytest.raises(NotFound) as service:
        book.effective("production", "wbe")
    with pytest.raises(NotFound) as environment:
        book.effective("prodution", "web")
    with pytest.raises(NotFound, match="worker is not in staging"):
        book.effective("staging", "worker")

    assert (service.value.hint, environment.value.hint) == (
        'did you mean "web"?',
        'did you mean "production"?',
    )


def test_digest_is_of_what_is_said_not_how() -> None:
    """Comments and layout do not change the digest; any value does."""
    plain = TextFiles.of({"opsbook.yaml": "name: shop\nowner: bob\n"})
    dressed = TextFiles.of({"opsbook.yaml": "# mine\nowner: 'bob'\n\nname: shop   # ours\n"})
    other = TextFiles.of({"opsbook.yaml": "name: shop\nowner: rob\n"})

    assert load(plain).digest == load(dressed).digest
    assert load(plain).digest != load(other).digest
    assert len(load(plain).digest) == 64


def test_write_back_can_be_turned_off() -> None:
    """`write_back: false` is kept in the book."""
    assert load(TextFiles.of({"opsbook.yaml": "name: shop\nwrite_back: false\n"})).write_back is False


def test_differences_are_told_field_by_field(shop: Book) -> None:
    """What differs between two environments: values as written, secrets as names."""
    found = {(d.service, d.field): (d.left, d.right) for d in differences(shop, "staging", "production")}

    assert found == {
        ("postgres", "resources.memory"): ("1Gi", "2Gi"),
        ("postgres", "route.port"): ("not there", "5432"),
        ("postgres", "version"): ("not there", "16"),
        ("web", "env.LOG_LEVEL"): ("not there", "warning"),
        ("web", "replicas"): ("1", "2"),
        ("web", "strategy"): ("blue-green", "canary"),
        ("web", "version"): ("not there", "2.1"),
        ("worker", "service"): ("not there", "there"),
    }
    assert differences(shop, "staging", "staging") == ()


def test_services_are_ordered_by_what_they_depend_on(shop: Book) -> None:
    """Levels of services: each after what it needs; a part of them can be ordered too."""
    services = shop.effective_services("production")

    assert dependency_order(services) == [["postgres"], ["web"], ["worker"]]
    assert dependency_order([services["worker"], services["web"]]) == [["web"], ["worker"]]
    assert dependency_order(shop.services) == [["postgres"], ["web"], ["worker"]]


def test_a_circle_of_dependencies_is_refused_by_name(shop: Book) -> None:
    """Ordering what has no order names the circle."""
    web = shop.services["web"].model_copy(update={"depends_on": ("worker",)})

    with pytest.raises(Invalid, match="web → worker → web"):
        dependency_order([web, shop.services["worker"]])


def test_a_folder_that_is_not_there() -> None:
    """No folder is told as such, with the command that makes one."""
    with pytest.raises(NotFound) as raised:
        load(FolderFiles(GOOD / "nowhere"))

    assert raised.value.hint == "opsbook init"


def test_folders_leave_out_what_is_no_handbook(tmp_path: Path) -> None:
    """Hidden files and installed packages are not read, and neither is what cannot be."""
    for path in (".git/config", "node_modules/a/b.yaml", "services/.web.yaml.swp", "opsbook.yaml"):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text("name: shop\n")
    (tmp_path / "services" / "web.yaml").symlink_to(tmp_path / "gone")

    assert FolderFiles(tmp_path).paths() == ("opsbook.yaml", "services/web.yaml")
    with pytest.raises(HandbookError, match=r"services/web\.yaml: cannot be read: No such file"):
        load(FolderFiles(tmp_path))


def test_the_room_is_imported_without_pydantic() -> None:
    """`opsbook --version` may import the room without paying for what reads a handbook."""
    code = "import sys, opsbook.book; print('pydantic' in sys.modules, 'yaml' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert done.stdout.strip() == "False False"


def warnings_of(**texts: str) -> list[str]:
    files = {
        path.replace("__", "/").replace("_md", ".md") if "/" not in path else path: t
        for path, t in texts.items()
    }
    _, problems = load_or_problems(TextFiles.of(files), today=date(2026, 11, 21))
    return [str(problem) for problem in problems if problem.severity == "warning"]


def test_a_good_handbook_has_no_warnings() -> None:
    """The documented example lacks nothing but what it lacks on purpose."""
    assert load(SHOP).warnings == ()


def test_warns_of_what_good_operations_lack() -> None:
    """Each lack is told once, with its place and what to write."""
    found = warnings_of(
        **{
            "opsbook.yaml": "name: shop\ncontacts: {bob: {}, team: {members: [bob]}}\n",
            "services/web.yaml": "service: web\nrun: {command: [a], port: http}\n",
            "services/store.yaml": "service: store\nowner: bob\ndescription: a\nrun: {command: [a]}\nstateful: true\n",
            "environments/production.yaml": "environment: production\nentry: {port: 80}\n"
            "protect: {approvals: 2, approvers: [team]}\nservices: {web: {strategy: recreate}}\n",
            "environments/test.yaml": "environment: test\nentry: {port: 8080}\n",
            "service/api.yaml": "",
            "strategies.yaml": "",
            "alerts/web.yaml": "",
        }
    )

    expected = (Path(__file__).parent / "warnings.expected").read_text()
    assert expected == "".join(f"{warning}\n" for warning in found)


def test_warns_of_pages() -> None:
    """A link to nothing, and a page that nobody has read for too long."""
    found = warnings_of(
        **{
            "opsbook.yaml": "name: shop\nreview: 30d\n",
            "runbooks/a.md": "---\nreviewed: 2026-08-01\nreview_every: 90d\n---\n[b](b.md) [up](../opsbook.yaml#x) "
            "`[c](c.md)` [out](../../README.md) [d](<d.md>)\n",
            "runbooks/c.md": "---\nreviewed: yesterday\n---\n",
            "runbooks/e.md": "---\nreviewed: '2026-10-01'\n---\n[folder](../runbooks)\n",
            "runbooks/f.md": "---\nreviewed: 2026-11-01\nreview_every: often\n---\n",
            "runbooks/g.md": "---\nreviewed: 2026-11-01   # by bob\n---\n",
        }
    )

    hint = " (hint: read it, correct it, write today's date)"
    assert [
        f"runbooks/a.md:2: reviewed: the page was due for review on 2026-10-30{hint}",
        "runbooks/a.md:5: the link b.md leads to no file",
        "runbooks/a.md:5: the link d.md leads to no file",
        "runbooks/c.md:2: reviewed: expected a date such as 2026-11-01",
        f"runbooks/e.md:2: reviewed: the page was due for review on 2026-10-31{hint}",
        "runbooks/f.md:3: review_every: expected a duration such as 30s, 5m or 1h30m",
    ] == sorted(found)


@pytest.mark.parametrize(
    "cover", sorted(EXAMPLES.glob("**/ops/opsbook.yaml")), ids=lambda path: path.parts[-3]
)
def test_the_examples_are_handbooks(cover: Path) -> None:
    """Every handbook that is shown to people can be used as it is."""
    book = load(FolderFiles(cover.parent))

    assert book.services


def test_the_shop_shows_how_production_is_guarded() -> None:
    """Two people may approve, a checklist is followed, and nothing is deployed over Christmas."""
    book = load(FolderFiles(EXAMPLES / "shop" / "ops"))
    (christmas,) = book.freezes

    assert ["alice", "bob"] == [
        person for person in book.roles if any(grant.role == "approver" for grant in book.grants(person))
    ]
    assert (3, 1, 2) == tuple(
        len(book.checklist_items("production", "web", stage)) for stage in ("pre", "during", "post")
    )
    assert () == book.checklist_items("staging", "web", "pre")
    assert [True, False] == [christmas.covers(environment, "web") for environment in ("production", "local")]
