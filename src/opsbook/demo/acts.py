"""The acts of the tour, in their order. Each says what it does and why, does it, and checks what came of it."""

from __future__ import annotations

import json
import os
import signal
import time
import urllib.error
import urllib.request
from collections.abc import Callable

from opsbook.demo.circle import late_errors
from opsbook.demo.play import ERRING, Play, Scene, Trial
from opsbook.errors import Failed


def begin(play: Play) -> None:
    """Check the handbook and start opsbook."""
    play.narrator.step(
        "The handbook is checked and opsbook started", "Nobody needs to be root; nothing else is needed"
    )
    play.type("check")
    play.started = True
    play.type("up", "--detach", "--port", str(play.stage.api_port))


def deploy_all(play: Play) -> None:
    """The first deployment of four services, in the order of their dependencies."""
    play.narrator.step(
        "The shop is deployed",
        "api and ledger come first: web and worker depend on them",
    )
    ended = play.type("deploy", "api", "ledger", "web", "worker", "--to", "local")
    play.scenes.append(Scene("first deployment of 4 services", "succeeded", ended.seconds))
    services = play.commands.read("status", "local")["environments"]["local"]["services"]
    healthy = {name: service["healthy"] for name, service in services.items()}
    wanted = {"api": 2, "ledger": 1, "web": 2, "worker": 1}
    play.promise("all instances are healthy", healthy == wanted, f"healthy are {healthy}")


def open_shop(play: Play) -> None:
    """Customers come, and stay until the end."""
    play.narrator.step(
        "Customers come", "Pages over 50 kept connections, streams, WebSockets and TCP, until the end"
    )
    play.open_shop(play.commands.service("ledger")["url"])
    play.nothing_lost()


def blue_green(play: Play) -> None:
    """A new version beside the old one, then all requests at once."""
    play.narrator.step(
        "web 2.0, blue-green", "The new version starts beside the old one and takes all requests in one step"
    )
    play.stage.write_version("web", "2.0")
    started = time.time()
    ended = play.type("deploy", "web", "--to", "local", "--version", "2.0")
    _serves(play, "2.0", after=started)
    _note_switch(play)
    play.scenes.append(Scene("blue-green to web 2.0", "succeeded", ended.seconds))
    play.nothing_lost()


def rolling(play: Play) -> None:
    """Instance by instance, with streams and WebSockets open."""
    play.narrator.step(
        "api 2.0, rolling", "One instance after the other; open streams and WebSockets end by themselves"
    )
    play.stage.write_version("api", "2.0")
    ended = play.type("deploy", "api", "--to", "local", "--version", "2.0", "--strategy", "rolling")
    version = play.commands.service("api")["version"]
    play.promise("api 2.0 serves", version == "2.0", f"{version} does")
    play.scenes.append(Scene("rolling to api 2.0", "succeeded", ended.seconds))
    play.nothing_lost()


def never_healthy(play: Play) -> None:
    """A version that does not become healthy must never see a request."""
    play.narrator.step(
        "web 2.1 never becomes healthy", "It is refused before any customer meets it, and 2.0 goes on serving"
    )
    play.stage.write_version("web", "2.1", fault="never-healthy")
    ended = play.type("deploy", "web", "--to", "local", "--version", "2.1", expect=(1, 3))
    deployment = play.commands.last_deployment("web")
    outcome = str(deployment["outcome"])
    play.promise("it is refused", outcome in {"failed", "rolled_back"}, f"its outcome is {outcome}")
    play.promise("no customer met it", "2.1" not in play.customers.now["versions"], "some did")
    play.scenes.append(Scene("web 2.1, never healthy", f"refused ({outcome})", ended.seconds))
    _serves(play, "2.0", after=time.time())
    play.nothing_lost()


def crash_loop(play: Play) -> None:
    """A version that looks well, serves, and then dies again and again is taken back without anybody asking."""
    play.narrator.step(
        "web 2.2 looks well, but every order of a gift card kills an instance",
        "opsbook watches on after a deployment, and takes back what crashes in a loop",
    )
    play.stage.write_version("web", "2.2", fault="gift")
    started = time.time()
    play.type("deploy", "web", "--to", "local", "--version", "2.2")
    _serves(play, "2.2", after=started)
    began = time.monotonic()
    orders = _order_gift_cards_until_taken_back(play, back_to="2.0")
    seconds = time.monotonic() - began
    play.narrator.output(f"{orders} gift cards were ordered before 2.2 was taken back")
    taken_back = time.time()
    _serves(play, "2.0", after=taken_back)
    _at_rest(play)
    held = [hold["version"] for hold in play.commands.service("web")["held"]]
    play.promise("2.2 is held, so that nothing deploys it again by itself", "2.2" in held, f"held are {held}")
    play.scenes.append(Scene("web 2.2, crash loop under traffic", "taken back by opsbook", seconds))
    play.nothing_lost()


def _at_rest(play: Play, seconds: float = 30.0) -> None:
    """Wait until nothing of web is under way any more: the way back drains what it left."""
    deadline = time.monotonic() + seconds
    while play.commands.service("web")["deployment"] is not None:
        if time.monotonic() > deadline:
            play.promise("the way back ends", False, f"it was under way for {seconds:g} s")
            return
        time.sleep(0.1)


def manual_rollback(play: Play) -> None:
    """Back to the version before, which is still warm: one change of routes."""
    play.narrator.step(
        "web 3.0, and back by hand", "The version before is kept warm, so that going back is one step"
    )
    play.stage.write_version("web", "3.0")
    started = time.time()
    play.type("deploy", "web", "--to", "local", "--version", "3.0")
    _serves(play, "3.0", after=started)
    asked = time.time()
    ended = play.type("rollback", "web", "--in", "local")
    _serves(play, "2.0", after=time.time())
    answered = play.customers.wait_for(100)["versions"]
    play.rollback_seconds = max(0.0, answered["3.0"]["last_at"] - asked) if "3.0" in answered else None
    play.scenes.append(Scene("web 3.0 rolled back to 2.0", "succeeded", ended.seconds))
    play.nothing_lost()


def scale_and_restart(play: Play) -> None:
    """More instances, fewer, and all anew."""
    play.narrator.step("Scale up, scale down, restart", "None of it may be noticed")
    for replicas in (4, 2):
        play.type("scale", "web", "--in", "local", "--replicas", str(replicas))
        healthy = play.commands.service("web")["healthy"]
        play.promise(f"{replicas} instances serve", healthy == replicas, f"{healthy} do")
    before = _pids(play, "api")
    play.type("restart", "api", "--in", "local")
    play.promise(
        "all instances of api are new ones", not before & _pids(play, "api"), "some are the old ones"
    )
    play.nothing_lost()


def kill_opsbook(play: Play) -> None:
    """opsbook dies; its services and the proxy do not notice."""
    play.narrator.step(
        "opsbook itself is killed", "Services and proxy outlive it, and are taken over again when it is back"
    )
    before = _pids(play, "web") | _pids(play, "api")
    pid = int(json.loads((play.stage.state / "server.json").read_text())["pid"])
    play.narrator.line(f"   {play.narrator.paint(f'$ kill -9 {pid}', 'cyan')}")
    os.kill(pid, signal.SIGKILL)
    play.nothing_lost()
    play.type("up", "--detach", "--port", str(play.stage.api_port))
    after = _pids(play, "web") | _pids(play, "api")
    play.promise(
        "the same processes serve, taken over", before == after, f"{sorted(before)} became {sorted(after)}"
    )
    play.stage.write_version("web", "3.1")
    started = time.time()
    ended = play.type("deploy", "web", "--to", "local", "--version", "3.1")
    _serves(play, "3.1", after=started)
    _note_switch(play)
    play.scenes.append(Scene("blue-green to web 3.1, after the crash", "succeeded", ended.seconds))
    play.nothing_lost()


def good_canary(play: Play) -> None:
    """A sound version gets a tenth of the requests, and all when the evidence is there."""
    play.narrator.step(
        "web 4.0, a canary", "It gets 10 % of the requests, is compared with 3.1, and passes on the evidence"
    )
    _canary(play, "4.0", outcome="succeeded", how="slow or errors")
    _serves(play, "4.0", after=time.time())
    play.nothing_lost()


def erring_canary(play: Play) -> None:
    """A version that passes every health check, and answers every fifth page with an error."""
    play.narrator.step(
        f"web {ERRING} is a canary whose every fifth page is an error",
        "Its health checks pass; the comparison with 4.0 takes it back. These errors are its own, and expected",
    )
    _canary(play, ERRING, fault="errors", outcome="rolled_back", how="errors")
    play.nothing_lost()


def slow_canary(play: Play) -> None:
    """A version without a single error, that takes a second for every page."""
    play.narrator.step(
        "web 4.2 is a canary that takes a second for every page",
        "No request fails; its response times against those of 4.0 take it back",
    )
    _canary(play, "4.2", fault="slow", outcome="rolled_back", how="slow")
    play.nothing_lost()


def _canary(play: Play, version: str, *, outcome: str, how: str, fault: str = "") -> None:
    """Deploy a canary, and note how many requests it hurt and how long it got any."""
    play.stage.write_version("web", version, fault=fault)
    good = outcome == "succeeded"
    words = ("deploy", "web", "--to", "local", "--version", version, "--strategy", "canary")
    ended = play.type(*words, expect=(0,) if good else (1, 3))
    deployment = play.commands.last_deployment("web")
    reason = f"{deployment['outcome']}: {deployment['reason']}"
    play.promise(
        "the evidence promotes it" if good else "the evidence takes it back",
        deployment["outcome"] == outcome,
        f"it is {reason}",
    )
    seconds = None if good else _seconds_with_weight(play, str(deployment["id"]), str(deployment["release"]))
    seen = play.customers.wait_for(100)["versions"].get(version, {"count": 0, "slow": 0, "errors": 0})
    hurt = {"slow": seen["slow"], "errors": seen["errors"]}.get(how, seen["slow"] + seen["errors"])
    play.trials.append(Trial(version, seen["count"], hurt, how, seconds))
    if not good:
        play.narrator.output(f"{hurt} of the {seen['count']} requests that met {version} were {how}")
        play.promise("customers met it, so that there was evidence", hurt > 0, "none was hurt by it")
        play.promise(f"{version} is at weight 0", seconds is not None, "the journal does not say so")
    told = "promoted" if good else "taken back by its evidence"
    play.scenes.append(Scene(f"canary web {version}{f', {how}' if fault else ''}", told, ended.seconds))


def _seconds_with_weight(play: Play, deployment: str, release: str) -> float | None:
    """From the moment at which the proxy gave `release` requests to the one at which it gave it none."""
    began = None
    for entry in play.commands.traffic("web"):
        if entry["data"]["deployment"] != deployment:
            continue
        weight = entry["data"]["weights"].get(release, 0)
        if weight and began is None:
            began = float(entry["at"])
        elif not weight and began is not None:
            return float(entry["at"]) - began
    return None


def look_back(play: Play) -> None:
    """What runs, and that the journal is whole."""
    play.narrator.step(
        "A look back", "Everything that happened stands in the journal, each entry chained to the one before"
    )
    play.type("status", "local")
    ended = play.type("journal", "verify")
    play.chain = "verified" if ended.code == 0 else "broken"


ACTS: tuple[Callable[[Play], None], ...] = (
    begin,
    deploy_all,
    open_shop,
    blue_green,
    rolling,
    never_healthy,
    crash_loop,
    manual_rollback,
    scale_and_restart,
    kill_opsbook,
    good_canary,
    erring_canary,
    slow_canary,
    late_errors,
    look_back,
)


# --- what several acts do


def _serves(play: Play, version: str, *, after: float) -> None:
    """Promise that customers were answered by `version` of web after `after`."""
    try:
        play.customers.wait_for_version(version, after=after)
    except Failed as error:
        play.broke(f"customers are answered by {version}", str(error))
    else:
        play.narrator.kept(f"customers are answered by {version}")


def _note_switch(play: Play) -> None:
    seconds = play.commands.last_deployment("web").get("shift_seconds")
    if seconds is not None:
        play.switches.append(float(seconds))


def _pids(play: Play, service: str) -> set[int]:
    return {
        instance["pid"]
        for instance in play.commands.service(service)["instances"]
        if not instance["draining"]
    }


def _order_gift_cards_until_taken_back(play: Play, *, back_to: str) -> int:
    """Order one card whenever all instances are well, so that customers always find another one; how many it took."""
    deadline = time.monotonic() + 40
    orders = deaths = 0
    while time.monotonic() < deadline:
        web = play.commands.service("web")
        if web["version"] == back_to:
            return orders
        restarts = sum(instance["restarts"] for instance in web["instances"])
        all_well = web["healthy"] == web["replicas"] and web["deployment"] is None and restarts >= deaths
        if all_well and _order_gift_card(play, taken_by="2.2"):
            orders += 1
            deaths = restarts + 1  # the one who took the order still looks well for a moment
        time.sleep(0.2)
    raise Failed(f"web 2.2 was not taken back within 40 s, although {orders} gift cards were ordered")


def _order_gift_card(play: Play, *, taken_by: str) -> bool:
    """Order one; whether `taken_by` took it. While all of it start again, the warm version does, and lives on."""
    order = urllib.request.Request(f"{play.stage.url}/orders/gift-card", data=b"1", method="POST")  # noqa: S310 - http
    try:
        with urllib.request.urlopen(order, timeout=5) as answer:  # noqa: S310 - as above
            return bool(answer.status == 202 and answer.headers["X-Version"] == taken_by)
    except urllib.error.URLError:
        return False
