"""Who is told what, when: the decision alone, with times given."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pytest

from opsbook.book import Book, TextFiles, load
from opsbook.monitoring.alerting.merging import kept_alive, merged
from opsbook.monitoring.alerting.model import PUSHED, Alert, Notification, Record, Told, fingerprint_of
from opsbook.monitoring.alerting.plan import RETENTION, decide
from opsbook.monitoring.alerting.responding import INCIDENTS, Responders
from opsbook.monitoring.alerting.routing import Router
from opsbook.monitoring.alerting.scene import Manner, Plan, Scene
from opsbook.monitoring.alerting.suppression import rules_from

COVER = """
name: shop
channels:
  chat: {url: "json://localhost"}
  hook: {webhook: "http://localhost/"}
  pager: {pagerduty: "key"}
"""
SERVICE = "service: {name}\nrun: {{command: [serve], port: http}}\ndepends_on: [{needs}]\n"


def book_of(notifications: str = "", cover: str = COVER, **services: str) -> Book:
    files = {
        "opsbook.yaml": cover.encode(),
        "monitoring/notifications.yaml": (notifications or "{}").encode(),
    }
    for name, needs in services.items():
        files[f"services/{name}.yaml"] = SERVICE.format(name=name, needs=needs).encode()
    return load(TextFiles(files))


@dataclass
class World:
    """Alerting with a clock that is set by hand; what is decided becomes what was told."""

    book: Book
    now: float = 1_000_000.0
    records: dict[str, Record] = field(default_factory=dict)
    told: dict[str, Told] = field(default_factory=dict)
    spent: dict[str, tuple[float, ...]] = field(default_factory=dict)
    silences: tuple[Any, ...] = ()
    deploying: frozenset[tuple[str, str]] = frozenset()
    unsent: frozenset[str] = frozenset()
    suspects: tuple[dict[str, str], ...] = ()
    more_at: float | None = None
    plan: Plan | None = None

    def __post_init__(self) -> None:
        self.router, self.rules = Router(self.book), rules_from(self.book)
        said = self.book.notifications.delivery
        self.manners = {
            name: Manner(
                quiet=said[name].quiet if name in said else None,
                limit=said[name].rate_limit if name in said else None,
                resolved=said[name].resolved if name in said else True,
                acknowledges=channel.kind == "pagerduty",
            )
            for name, channel in self.book.channels.items()
        }

    def hear(self, name: str = "Down", *, ended: bool = False, source: str = "rules", **labels: str) -> Alert:
        alert = Alert(
            {"alertname": name, **labels},
            starts_at=self.now,
            ends_at=self.now if ended else None,
            source=source,
        )
        old = self.records.get(alert.fingerprint)
        new = merged(old, alert, self.now, resolve_timeout=300.0)
        if new is not None:
            self.records[alert.fingerprint] = new
        return alert

    def decide(self, after: float = 0.0) -> list[Notification]:
        self.now += after
        self.plan = decide(
            Scene(
                now=self.now,
                records=self.records,
                told=self.told,
                router=self.router,
                rules=self.rules,
                manners=self.manners,
                silences=self.silences,
                deploying=self.deploying,
                unsent=self.unsent,
                suspects=self.suspects,
                more_at=self.more_at,
                spent=self.spent,
            )
        )
        for name, told in self.plan.told.items():
            if told is None:
                self.told.pop(name, None)
            else:
                self.told[name] = told
        self.spent |= self.plan.spent
        for fingerprint in self.plan.forgotten:
            del self.records[fingerprint]
        return list(self.plan.notifications)

    def until(self, end: float) -> list[Notification]:
        """Decide whenever the plan wants to, until `end` seconds from now."""
        end += self.now
        found = self.decide()
        for _ in range(200):
            wake = self.plan.wake_at if self.plan else None
            if wake is None or wake > end:
                break
            assert wake > self.now, "a plan that wants to decide again at once never rests"
            found += self.decide(wake - self.now)
        self.now = end
        return found


def said(notifications: list[Notification]) -> list[tuple[str, str, list[str], list[str]]]:
    """Channel, status, and the names of what fires and has ended."""
    return [
        (n.channel, n.status, sorted(a.name for a in n.firing), sorted(a.name for a in n.resolved))
        for n in notifications
    ]


def test_fingerprints_are_those_of_alertmanager() -> None:
    """As `amtool alert query -o json` shows it for an alert with one label."""
    assert "d2aeefc389ca7746" == fingerprint_of({"alertname": "X"})


def test_an_alert_is_told_at_once_and_once() -> None:
    """Without a group_wait nobody waits, and nothing is repeated before its time."""
    world = World(book_of("channels: [hook]"))
    world.hear()

    assert [("hook", "firing", ["Down"], [])] == said(world.decide())
    assert [] == world.decide(after=60)


def test_the_first_alert_of_a_group_waits_for_others() -> None:
    """With a group_wait the second one comes in the same message."""
    world = World(book_of("channels: [hook]\ngroup_wait: 10s"))
    world.hear(instance="a")
    assert [] == world.decide()
    world.now += 5
    world.hear(instance="b")

    assert [("hook", "firing", ["Down", "Down"], [])] == said(world.decide(after=5))


def test_news_of_a_group_wait_for_its_interval() -> None:
    """A second alert and the end of the first come group_interval after the last message, together."""
    world = World(book_of("channels: [hook]\ngroup_interval: 1m"))
    world.hear(instance="a")
    world.decide()
    world.now += 10
    world.hear(instance="b")
    world.hear(instance="a", ended=True)

    assert [] == world.decide()
    assert [("hook", "firing", ["Down"], ["Down"])] == said(world.until(50))


def test_what_fires_on_is_told_again() -> None:
    """After repeat_interval, as a reminder; not while the last message has not even arrived."""
    world = World(book_of("channels: [hook]\nrepeat_interval: 1h"))
    world.hear()
    world.decide()

    [reminder] = world.decide(after=3600)
    assert reminder.groups[0].reminder
    world.unsent = frozenset(world.told)
    assert [] == world.decide(after=3600)


def test_the_end_of_what_was_told_is_told() -> None:
    """And then nothing is left to remember, once the interval is over that keeps a flapping alert from paging."""
    world = World(book_of("channels: [hook]\ngroup_interval: 30s"))
    world.hear()
    world.decide()
    world.now += 40
    world.hear(ended=True)

    assert [("hook", "resolved", [], ["Down"])] == said(world.decide())
    world.until(RETENTION + 60)
    assert ({}, {}) == (world.records, world.told)


def test_a_flapping_alert_pages_once_an_interval() -> None:
    """Ten changes within an interval are one message at its end, or none."""
    world = World(book_of("channels: [hook]\ngroup_interval: 5m"))
    messages = []
    for turn in range(10):
        world.hear(ended=bool(turn % 2))
        messages += world.until(20)
    messages += world.until(300)

    assert ["firing", "resolved"] == [one.status for one in messages]


def test_nobody_is_told_the_end_of_what_nobody_was_told() -> None:
    """An alert that ends within its group_wait was never there, for people."""
    world = World(book_of("channels: [hook]\ngroup_wait: 10s"))
    world.hear()
    world.until(5)
    world.hear(ended=True)

    assert [] == world.until(3600)


def test_routes_choose_channels_and_what_is_told_together() -> None:
    """The first that fits; `continue` goes on; what a route leaves out it has from the one around it."""
    world = World(
        book_of(
            "channels: [chat]\nroutes:\n"
            "  - {match: {severity: critical}, channels: [pager], continue: true}\n"
            "  - match: ['service=~web|api']\n    channels: [hook]\n    group_by: ['...']\n"
            "    routes: [{match: {severity: info}, channels: []}]\n"
        )
    )
    world.hear("A", severity="critical", service="web")
    world.hear("B", severity="info", service="api")
    world.hear("C", severity="info", service="db")

    assert [
        ("chat", "firing", ["C"], []),
        ("hook", "firing", ["A"], []),
        ("pager", "firing", ["A"], []),
    ] == sorted(said(world.decide()))


def test_without_a_route_the_owner_of_the_service_is_told() -> None:
    """The owner's channel, a team's members', the handbook's owner's, and all channels rather than none."""
    cover = (
        COVER + "owner: boss\ncontacts:\n  boss: {channel: chat}\n  ana: {channel: pager}\n"
        "  web-team: {members: [ana]}\n"
    )
    book = load(
        TextFiles({
            "opsbook.yaml": cover.encode(),
            "services/web.yaml": b"service: web\nowner: web-team\nrun: {command: [serve], port: http}\n",
        })
    )  # fmt: skip
    ways = {
        service: [
            one.channel for one in Router(book).destinations(Alert({"alertname": "X", "service": service}))
        ]
        for service in ("web", "db")
    }

    assert {"web": ["pager"], "db": ["chat"]} == ways
    assert ["chat", "hook", "pager"] == [
        one.channel for one in Router(book_of()).destinations(Alert({"alertname": "X"}))
    ]


def test_the_actions_of_a_rule_come_on_top_of_the_routes() -> None:
    """A channel and a contact that a rule names are told too, and nobody twice."""
    book = book_of("channels: [hook]", cover=COVER + "contacts: {ana: {channel: pager}}\n")
    alert = Alert({"alertname": "X"}, actions=({"channel": "hook"}, {"page": "ana"}, {"page": "nobody"}))

    assert ["hook", "pager"] == [one.channel for one in Router(book).destinations(alert)]


def test_a_graver_alert_inhibits_where_labels_agree() -> None:
    """And what was told before it was inhibited is told when it ends."""
    world = World(
        book_of(
            "channels: [hook]\ngroup_interval: 1s\n"
            "inhibit: [{source: {severity: critical}, target: {severity: warning}, equal: [service]}]"
        )
    )
    world.hear("Slow", severity="warning", service="web")
    world.hear("Slow", severity="warning", service="api")
    assert 2 == len(world.decide())
    world.now += 10
    world.hear("Down", severity="critical", service="web")
    world.hear("Late", severity="warning", service="web")
    world.hear("Slow", severity="warning", service="web", ended=True)

    found = said(world.decide())
    assert [("hook", "firing", ["Down"], []), ("hook", "resolved", [], ["Slow"])] == sorted(found)
    world.hear("Down", severity="critical", service="web", ended=True)
    assert [("hook", "firing", ["Late"], []), ("hook", "resolved", [], ["Down"])] == sorted(
        said(world.decide(10))
    )


def test_alerts_that_are_source_and_target_do_not_inhibit_each_other() -> None:
    """Two of the same kind would otherwise both be silent."""
    world = World(book_of("channels: [hook]\ninhibit: [{source: {a: x}, target: {a: x}}]"))
    world.hear("One", a="x")
    world.hear("Two", a="x")

    assert 2 == len(world.decide())


CAUSES = {"db": "", "api": "db", "web": "api"}


def test_a_symptom_is_not_told_while_its_cause_fires() -> None:
    """The page is about the database; the services above it are told of only if they stay broken after it."""
    world = World(book_of("channels: [hook]\ncause_wait: 5s\ngroup_interval: 1s", **CAUSES))
    for service in ("web", "api"):
        world.hear("HighErrorRate", severity="critical", service=service, environment="production")
    assert [] == world.decide(after=3)
    world.hear("ServiceDown", severity="critical", service="db", environment="production")
    assert [("hook", "firing", ["ServiceDown"], [])] == said(world.until(600))
    kinds = {one.kind for found in (world.plan.suppressions.values() if world.plan else ()) for one in found}
    assert {"dependency"} == kinds
    world.hear("ServiceDown", severity="critical", service="db", environment="production", ended=True)
    world.hear("HighErrorRate", severity="critical", service="api", environment="production", ended=True)

    assert [("hook", "resolved", [], ["ServiceDown"]), ("hook", "firing", ["HighErrorRate"], [])] == said(
        world.until(60)
    )


def test_a_symptom_without_its_cause_is_told_after_a_short_wait() -> None:
    """Nobody knows whether the cause will fire: it has cause_wait to do so."""
    world = World(book_of("channels: [hook]\ncause_wait: 5s", **CAUSES))
    world.hear("HighErrorRate", severity="critical", service="web", environment="production")
    began = world.now

    assert [] == world.decide()
    assert world.plan is not None
    assert began + 5 == world.plan.wake_at
    assert 1 == len(world.decide(after=5))


@pytest.mark.parametrize(
    ("service", "environment", "severity"),
    [("other", "production", "critical"), ("db", "staging", "critical"), ("db", "production", "warning")],
)
def test_only_a_grave_enough_alert_of_the_same_environment_is_a_cause(
    service: str, environment: str, severity: str
) -> None:
    """A warning about the database's disk does not keep an outage of the storefront quiet."""
    world = World(book_of("channels: [hook]\ncause_wait: 0s", **CAUSES, other=""))
    world.hear("Cause", service=service, environment=environment, severity=severity)
    world.hear("Symptom", service="web", environment="production", severity="critical")

    assert ["Cause", "Symptom"] == sorted(alert.name for one in world.decide() for alert in one.firing)


def test_dependencies_can_be_left_aside() -> None:
    """`dependencies: false`."""
    world = World(book_of("channels: [hook]\ndependencies: false", **CAUSES))
    world.hear("Cause", service="db", environment="production", severity="critical")
    world.hear("Symptom", service="web", environment="production", severity="critical")

    assert 2 == len(world.decide())


def test_quiet_hours_keep_all_but_what_is_excepted() -> None:
    """At their end what still fires is told; what ended meanwhile is not."""
    # 1970-01-12 13:46:40 UTC
    world = World(
        book_of("channels: [hook]\ndelivery: {hook: {quiet: {from: '13:00', until: '14:00'}}}"),
    )
    world.hear("Grave", severity="critical")
    world.hear("Light", severity="warning")
    world.hear("Short", severity="warning")
    assert ["Grave"] == [alert.name for one in world.decide() for alert in one.firing]
    world.hear("Short", severity="warning", ended=True)

    assert ["Light"] == [alert.name for one in world.until(3600) for alert in one.firing]


def test_what_exceeds_a_limit_comes_bundled() -> None:
    """Ten groups at three messages a minute: two alone, the gravest first, and the rest in one."""
    world = World(
        book_of("channels: [hook]\ngroup_by: ['...']\ndelivery: {hook: {rate_limit: {messages: 3}}}")
    )
    for number in range(10):
        world.hear(f"A{number}", severity="critical" if number == 7 else "warning")
    found = world.decide()

    assert [1, 1, 8] == [len(one.groups) for one in found]
    assert "A7" == found[0].firing[0].name
    world.hear("Late")
    assert [] == world.until(50)
    assert [["Late"]] == [[alert.name for alert in one.firing] for one in world.until(20)]


def test_a_channel_that_wants_no_ends_gets_none() -> None:
    """`resolved: false`; a new firing of the same alert is told again."""
    world = World(book_of("channels: [hook]\ngroup_interval: 1s\ndelivery: {hook: {resolved: false}}"))
    world.hear()
    world.decide()
    world.hear(ended=True)
    assert [] == world.until(30)
    world.hear()

    assert 1 == len(world.until(30))


def test_pagerduty_is_told_that_somebody_silenced_it() -> None:
    """Acknowledged once, and triggered again when the alert is new."""
    book = book_of(
        "channels: [pager]\ngroup_interval: 1s\nsilences: [{name: s, match: {alertname: Down}, comment: c,"
        " during: deployment}]"
    )
    world = World(book)
    world.hear(service="web", environment="production")
    world.decide()
    world.deploying = frozenset({("production", "web")})

    [acknowledged] = world.decide(after=5)
    assert acknowledged.groups[0].acknowledged
    assert "firing" == acknowledged.status
    assert [] == world.decide(after=5)
    world.hear(service="web", environment="production", ended=True)
    assert [("pager", "resolved", [], ["Down"])] == said(world.decide(after=5))


def test_maintenance_and_deployments_keep_their_services_quiet() -> None:
    """Of the services that are worked on only, and only meanwhile."""
    world = World(
        book_of(
            "channels: [hook]\n"
            "maintenance: [{name: m, comment: patches, services: [db], weekly: {from: '13:00', until: '14:00'}}]\n"
            "silences: [{name: d, match: {alertname: Down}, comment: replaced, during: deployment}]",
            db="", web="",
        )
    )  # fmt: skip
    world.deploying = frozenset({("production", "web")})
    world.hear(service="db", environment="production")
    world.hear(service="web", environment="production")
    world.hear(service="web", environment="staging")

    told = [alert.labels for one in world.decide() for alert in one.firing]
    assert [{"alertname": "Down", "service": "web", "environment": "staging"}] == told
    world.deploying = frozenset()
    assert ["web", "db"] == [alert.labels["service"] for one in world.until(3600) for alert in one.firing]


def test_a_channel_that_has_left_the_handbook_is_forgotten() -> None:
    """There is nobody to tell the end to."""
    world = World(book_of("channels: [hook]"))
    world.hear()
    world.decide()
    world.manners.pop("hook")
    world.hear(ended=True)

    assert ([], {}) == (world.decide(after=60), world.told)


def test_a_clock_that_was_set_back_keeps_nobody_waiting() -> None:
    """Times that lie ahead count as now."""
    world = World(book_of("channels: [hook]\ngroup_interval: 30s"))
    world.hear()
    world.decide()
    world.now -= 86_400
    world.hear("Down", instance="b")
    world.records = {key: Record(one.alert, world.now, world.now) for key, one in world.records.items()}
    world.hear(ended=True)

    assert world.until(60)


# --- what is heard ---


def test_a_pushed_alert_that_is_not_heard_of_again_has_ended() -> None:
    """After resolve_timeout, or at the end it was pushed with; heard of again in time, it goes on."""
    world = World(book_of("channels: [hook]\ngroup_interval: 1s"))
    world.hear(source=PUSHED)
    world.decide()
    world.now += 200
    world.hear(source=PUSHED)

    assert [] == world.until(299)
    assert [("hook", "resolved", [], ["Down"])] == said(world.until(2))


def test_silence_of_our_own_making_is_no_end() -> None:
    """After a restart a pushed alert has time to be heard of again; one that was said to have ended has not."""
    pushed = Record(Alert({"a": "x"}, starts_at=10, ends_at=100, source=PUSHED), 10, 20)
    ended = Record(Alert({"a": "x"}, starts_at=10, ends_at=20, source=PUSHED), 10, 20)

    assert 590 == kept_alive(pushed, 500, 90).alert.ends_at
    assert ended is kept_alive(ended, 500, 90)


def test_words_of_an_end_are_those_it_fired_with() -> None:
    """Who pushes an end often says nothing more about it."""
    old = Record(Alert({"a": "x"}, {"summary": "boo"}, starts_at=10), 10, 10)
    new = merged(old, Alert({"a": "x"}, starts_at=15, ends_at=20), 20, resolve_timeout=300)

    assert new is not None
    assert ({"summary": "boo"}, 10, 20) == (new.alert.annotations, new.alert.starts_at, new.alert.ends_at)


def test_our_own_rule_knows_better_than_who_pushes() -> None:
    """An alert of the same labels that is pushed as ended does not end ours."""
    old = Record(Alert({"a": "x"}, starts_at=10), 10, 10)

    assert old is merged(old, Alert({"a": "x"}, ends_at=15, source=PUSHED), 20, resolve_timeout=300)
    assert merged(None, Alert({"a": "x"}, ends_at=15), 20, resolve_timeout=300) is None


def test_a_page_goes_to_who_is_on_call_at_that_moment() -> None:
    """By a schedule's name; when nobody is, or nobody can be reached, to the service's owner rather than to none."""
    book = load(
        TextFiles(
            {
                "opsbook.yaml": b"name: shop\nowner: ana\nchannels: {a: {webhook: 'http://a.example'}, "
                b"b: {webhook: 'http://b.example'}}\ncontacts:\n  ana: {channel: a}\n  ben: {channel: b}\n"
                b"  cem: {email: c@example.com}\n",
                "monitoring/notifications.yaml": b"channels: []\n",
            }
        )
    )
    turn: list[tuple[str, ...] | None] = []
    router = Router(book, Responders(on_call=lambda name: turn[-1] if name == "on-call" else None))
    alert = Alert({"alertname": "X"}, actions=({"page": "on-call"},))

    def told(people: tuple[str, ...] | None) -> list[str]:
        turn.append(people)
        return [one.channel for one in router.destinations(alert)]

    assert ["a"] == told(("ana",))
    assert ["b"] == told(("ben",))
    assert ["b", "a"] == told(("ben", "ana"))
    assert ["a"] == told(())
    assert ["a"] == told(("cem",))


def test_an_incident_hears_of_what_it_is_opened_for() -> None:
    """Of alerts that open one, and of those that page by an escalation, whose people are then left to the incident."""
    book = load(
        TextFiles(
            {
                "opsbook.yaml": b"name: shop\nowner: ana\nchannels: {a: {webhook: 'http://a.example'}}\n"
                b"contacts:\n  ana: {channel: a}\n",
                "monitoring/notifications.yaml": b"channels: []\n",
            }
        )
    )
    there = Responders(
        opens=lambda alert: alert.severity == "critical",
        escalates=lambda name: name == "primary",
        receive=lambda notification: "",
    )

    def told(responders: Responders, alert: Alert) -> list[str]:
        return [one.channel for one in Router(book, responders).destinations(alert)]

    critical = Alert({"alertname": "X", "severity": "critical"})
    paging = Alert({"alertname": "Y", "severity": "warning"}, actions=({"page": "primary"},))
    plain = Alert({"alertname": "Z", "severity": "warning"}, actions=({"page": "ana"},))

    assert [INCIDENTS] == told(there, critical)
    assert [INCIDENTS] == told(there, paging)
    assert ["a"] == told(there, plain)
    assert [] == told(Responders(), critical)
