"""What a look means: thresholds by example and by hypothesis, series, alerts, secrets."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from opsbook.book import TextFiles, load
from opsbook.book.probes import ProbeSpec
from opsbook.errors import NotFound
from opsbook.monitoring.probes.model import ProbeState
from opsbook.monitoring.probes.plan import check_of, groups_of, seen, series_of
from opsbook.promql import parse
from opsbook.world.probes.words import Finding, HttpCheck

WELL = Finding(ok=True, seconds=0.01, detail="200", phases={"connect": 0.001}, status=200)
ILL = Finding(ok=False, seconds=0.5, detail="refused")


def specs(text: str) -> tuple[ProbeSpec, ...]:
    files = {"opsbook.yaml": b"name: shop\n", "monitoring/probes.yaml": text.encode()}
    return load(TextFiles(files)).probes


def spec(**more: object) -> ProbeSpec:
    document: dict[str, object] = {"name": "pay", "http": "https://pay.example.com/health", **more}
    return ProbeSpec.model_validate(document)


def after(looks: list[bool], of: ProbeSpec) -> ProbeState:
    state = ProbeState()
    for at, ok in enumerate(looks):
        state = seen(state, WELL if ok else ILL, of, float(at))
    return state


def test_one_failure_is_not_an_outage() -> None:
    """Down only after as many failures in a row as the handbook says; one success brings it back."""
    pay = spec(failures=3)
    assert after([True, False, False, True, False, False], pay).up is True
    down = after([True, False, False, False], pay)
    assert (down.up, down.since, down.detail) == (False, 3.0, "refused")
    assert after([True, False, False, False, True], pay).up is True


def test_it_is_not_known_before_the_threshold() -> None:
    """What never was seen well is down only by the threshold too; a first success decides at once."""
    pay = spec(failures=3, successes=2)
    assert after([False, False], pay).up is None
    assert after([False, False, False], pay).up is False
    assert after([True], pay).up is True
    assert after([False, False, False, True], pay).up is False
    assert after([False, False, False, True, True], pay).up is True


@given(
    looks=st.lists(st.booleans(), min_size=1, max_size=40),
    failures=st.integers(1, 5),
    successes=st.integers(1, 5),
)
def test_it_changes_only_after_a_run_of_looks_that_agree(
    looks: list[bool], failures: int, successes: int
) -> None:
    """Whenever a probe goes down, the last `failures` looks failed; whenever it comes up again, they went well."""
    pay = spec(failures=failures, successes=successes)
    state = ProbeState()
    for at, ok in enumerate(looks):
        before, state = state, seen(state, WELL if ok else ILL, pay, float(at))
        if state.up is not before.up:
            assert state.since == float(at)
            needed = failures if state.up is False else 1 if before.up is None else successes
            assert [bool(state.up)] * needed == looks[at + 1 - needed : at + 1]


def test_series_of_a_look() -> None:
    """Its labels are the probe's; phases and the status are there when they were seen."""
    pay = spec(environment="production", service="web", labels={"team": "shop"})
    state = seen(ProbeState(), WELL, pay, 1.0)

    found = {labels["__name__"]: (labels, value) for labels, value in series_of(pay, "t", WELL, state)}

    assert found.keys() == {
        "probe_success",
        "probe_up",
        "probe_duration_seconds",
        "probe_phase_seconds",
        "probe_http_status_code",
    }
    labels, value = found["probe_success"]
    assert value == 1.0
    assert labels == {
        "__name__": "probe_success",
        "team": "shop",
        "probe": "pay",
        "kind": "http",
        "target": "t",
        "environment": "production",
        "service": "web",
    }
    assert found["probe_phase_seconds"][0]["phase"] == "connect"


def test_each_probe_has_an_alert() -> None:
    """With its severity and its runbook; the expression is PromQL."""
    (group,) = groups_of([spec(severity="warning", runbook="pay-down")])
    (rule,) = group.rules
    assert (rule.labels["severity"], rule.annotations["runbook"]) == ("warning", "pay-down")
    assert parse(rule.expr).selectors[0].name == "probe_up"
    assert groups_of([]) == ()


def test_secrets_are_filled_in() -> None:
    """In the URL and the headers; one that is missing is an error, not an empty text."""
    pay = spec(http={"url": "https://{secret:user}@x.example", "headers": {"X-Key": "k {secret:key}"}})
    check = check_of(pay, {"user": "ana", "key": "s3"}.__getitem__)
    assert isinstance(check, HttpCheck)
    assert (check.url, check.headers) == ("https://ana@x.example", {"X-Key": "k s3"})

    def missing(name: str) -> str:
        raise NotFound(f"there is no secret {name}")

    with pytest.raises(NotFound, match="no secret user"):
        check_of(pay, missing)


def test_short_forms_say_the_same() -> None:
    """A text alone stands for the field one would think of."""
    short = specs(
        "probes:\n- {name: a, tcp: 'db:5432'}\n- {name: b, tls: shop.example.com}\n"
        "- {name: c, dns: shop.example.com}\n- {name: d, ssh: bastion}\n- {name: e, icmp: 10.0.0.1}\n"
        "- {name: f, grpc: 'orders:9000'}\n- {name: g, http: 'http://x/', status: 200}\n".replace(
            "http: 'http://x/', status: 200", "http: {url: 'http://x/', status: [200, 3xx]}"
        )
    )
    assert [one.kind for one in short] == ["tcp", "tls", "dns", "ssh", "icmp", "grpc", "http"]
    assert short[0].tcp is not None
    assert (short[0].tcp.host, short[0].tcp.port) == ("db", 5432)
    placed = specs("probes:\n- {name: a, tls: 'x.example:8443'}\n")
    assert placed[0].tls is not None
    assert (placed[0].tls.host, placed[0].tls.port) == ("x.example", 8443)
    (six,) = specs("probes:\n- {name: a, tls: '2001:db8::1'}\n")
    assert six.tls is not None
    assert (six.tls.host, six.tls.port) == ("2001:db8::1", 443)
    assert short[6].http is not None
    assert short[6].http.status == ((200, 200), (300, 399))


def test_the_alerts_of_several_probes_are_told_apart() -> None:
    """Rules of one name differ by their labels, as promtool asks for."""
    (group,) = groups_of([spec(), spec(name="bank")])
    assert [rule.labels["probe"] for rule in group.rules] == ["pay", "bank"]
