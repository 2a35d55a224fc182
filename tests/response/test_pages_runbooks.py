"""Pages of runbooks and runs: what they show, what they start, and what nobody gets past them."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import httpx
import pytest
from respond_stand import PAGES, Responding

Browse = Callable[[str | None], httpx.Client]
TWO_HANDS = """\
# Two hands

```text manual id=first
Pull the first lever.
```
```text manual id=second
Pull the second lever.
```
"""
COLOURS = """\
# Colours

```bash run id=well risk=read
printf 'progress 10%%\\rprogress 100%%\\n'
```
```bash run id=badly risk=read on-failure=stop
printf '\\033[1;31mno space left\\033[0m\\n'; exit 1
```
"""


class House(Responding):
    """With pages whose steps people do, and with one that fails in colour."""

    pages: Mapping[str, str] = {**PAGES, "two-hands": TWO_HANDS, "colours": COLOURS}


@pytest.fixture(scope="module")
def house() -> Iterator[Responding]:
    made = House()
    try:
        made.address = made.serve()
        yield made
    finally:
        made.end()


@pytest.fixture(scope="module")
def browse(house: Responding) -> Iterator[Browse]:
    """``browse("ana")`` is signed in as Ana, and sends what browsers send."""
    opened: list[httpx.Client] = []

    def browsing(person: str | None) -> httpx.Client:
        cookies = {} if person is None else {"opsbook_session": house.cookie(person)}
        headers = {"accept": "text/html", "origin": house.address}
        opened.append(httpx.Client(base_url=house.address, cookies=cookies, headers=headers, timeout=20))
        return opened[-1]

    yield browsing
    for client in opened:
        client.close()


def hidden(client: httpx.Client, path: str) -> dict[str, str]:
    """The hidden fields of a page's form."""
    page = client.get(path).text.partition("<main>")[2]
    return dict(re.findall(r'type="hidden" name="([\w.]+)" value="([^"]*)"', page))


def send(client: httpx.Client, path: str, **fields: str) -> httpx.Response:
    """The form of a page, filled in."""
    named = {name.replace("__", "."): value for name, value in fields.items()}
    return client.post(path, data={**hidden(client, path), **named})


def started(answer: httpx.Response) -> str:
    """The run that a form led to."""
    assert 303 == answer.status_code, answer.text
    return answer.headers["location"].rpartition("/")[2]


def test_the_index_has_each_page_with_its_evidence(house: Responding, browse: Browse) -> None:
    """Title, risk, the alerts that lead there, how runs went, and the review; the search narrows it."""
    run, _ = house.runbooks.run("slow", {"gate": "/"}, "ana")
    house.ended(run.id)
    page = browse("dora").get("/runbooks").text
    row = page.partition('id="page-slow"')[2].partition("</tr>")[0]
    assert "failed" in row
    assert "0 %" in row
    disk = page.partition('id="page-disk-full"')[2].partition("</tr>")[0]
    assert all(said in disk for said in ("2 steps", "risk write", "HostDiskFull", "up to date", "2026-11-01"))
    found = browse("dora").get("/runbooks?text=hostdisk").text
    assert ("page-disk-full" in found, "page-slow" in found) == (True, False)


def test_a_page_shows_its_text_and_its_blocks(browse: Browse) -> None:
    """HTML of the page is text, links lead to pages here, no link runs a script, the title stands once."""
    page = browse("dora").get("/runbooks/disk-full").text
    assert "<b>checkout</b>" not in page
    assert "&lt;b&gt;checkout" in page
    assert 'href="/runbooks/api-down#at-diagnose"' in page
    assert 'href="/handbook/services/api.yaml"' in page
    assert 'href="javascript' not in page
    assert 1 == len(re.findall(r"<h\d[^>]*>Disk full", page))
    assert 'id="block-vacuum"' in page
    assert "freed to ${KEEP_MB} MB" in page


def test_what_an_address_gives_stands_in_the_form(browse: Browse) -> None:
    """An alert's link fills in what it knows, and what is hostile in it stays text."""
    page = browse("ana").get("/runbooks/disk-full", params={"param.keep_mb": '7"><script>'}).text
    assert 'value="7&#34;&gt;&lt;script&gt;"' in page
    chosen = browse("ana").get("/runbooks/disk-full", params={"param.environment": "staging"}).text
    assert '<option value="staging" selected>' in chosen


def test_a_dry_run_does_nothing(house: Responding, browse: Browse) -> None:
    """It says what would run, with the values; no run begins."""
    before = len(house.runbooks.records.runs())
    answer = send(browse("dora"), "/runbooks/disk-full", do="dry", param__keep_mb="700")
    assert 200 == answer.status_code
    assert "nothing was done" in answer.text
    assert "<code>700</code>" in answer.text
    assert "undone by rollback-vacuum" in answer.text
    assert before == len(house.runbooks.records.runs())


def test_a_wrong_parameter_is_said_beside_the_form(browse: Browse) -> None:
    """What was filled in stays; the message says what was expected."""
    answer = send(browse("ana"), "/runbooks/disk-full", do="run", param__keep_mb="7", param__mode="hard")
    assert 422 == answer.status_code
    assert "keep_mb: 100 at least" in answer.text
    assert 'value="7"' in answer.text
    assert '<option value="hard" selected>' in answer.text


def test_a_run_goes_from_the_form_to_its_end(house: Responding, browse: Browse) -> None:
    """Started, its output shown, the step of a person done, succeeded; the evidence says so."""
    ana = browse("ana")
    name = started(send(ana, "/runbooks/disk-full", do="run", param__keep_mb="600"))
    house.paused(name)
    page = ana.get(f"/runs/{name}").text
    assert "freed to 600 MB" in page
    assert "Waits for a person to do graphs" in page
    assert "freed to 600 MB\n" == ana.get(f"/runs/{name}/output/2").text
    send(ana, f"/runs/{name}/done", note="emptier")
    run = house.ended(name)
    assert ("succeeded", "ana") == (run.outcome, run.steps[-1].by)
    after = ana.get(f"/runs/{name}").text
    assert "Succeeded." in after
    assert 'href="/runbooks/disk-full?param.environment=production&amp;param.keep_mb=600' in after
    assert "100 %" in ana.get("/runbooks/disk-full").text


def test_done_is_said_of_one_step(house: Responding, browse: Browse) -> None:
    """A second tap, or a page from before, does not say of the next step that it was done; what was typed stays."""
    ana = browse("ana")
    run, _ = house.runbooks.run("two-hands", {}, "ana")
    house.paused(run.id)
    page = ana.get(f"/runs/{run.id}").text
    assert "Pull the first lever" in page.partition('class="point')[0]  # it is the first, on the first screen
    form = hidden(ana, f"/runs/{run.id}/done")
    assert 303 == ana.post(f"/runs/{run.id}/done", data=form).status_code
    house.until(run.id, lambda one: one.state == "paused" and one.waiting_for and "second" in one.waiting_for)
    again = ana.post(f"/runs/{run.id}/done", data={**form, "note": "I did it"})
    assert 409 == again.status_code
    assert "does not wait for that any more" in again.text
    assert 'value="I did it"' in again.text
    assert "paused" == house.runbooks.records.run(run.id).state
    point = ana.get(f"/runs/{run.id}").text.partition('class="point')[2].partition("</section>")[0]
    assert "Pull the second lever" in point
    send(ana, f"/runs/{run.id}/done")
    assert "succeeded" == house.ended(run.id).outcome


def test_what_failed_is_said_first(house: Responding, browse: Browse) -> None:
    """With the end of what it wrote, before what went well; colours are no garbage, also not in the whole of it."""
    ana = browse("ana")
    run, _ = house.runbooks.run("colours", {}, "ana")
    house.ended(run.id)
    page = ana.get(f"/runs/{run.id}").text
    point = page.partition('class="point')[2].partition("</section>")[0]
    assert '<span class="ansi-bold ansi-red">no space left</span>' in point
    assert ">progress 100%\n</pre>" in page
    assert "\x1b" not in page
    assert "\x1b" not in ana.get(f"/runs/{run.id}/output/2").text


def test_somebody_else_approves_what_they_looked_at(house: Responding, browse: Browse) -> None:
    """Whoever asked is refused; another binding is refused; the other person's yes lets it run."""
    name = started(send(browse("ana"), "/runbooks/fail-over", do="run"))
    house.paused(name)
    asked = browse("ben").get(f"/runs/{name}/approve").text
    assert "echo switched" in asked
    assert "risk: danger" in asked
    refused = browse("ana").get(f"/runs/{name}/approve").text
    assert "may not approve" in refused
    client = browse("ben")
    fields = hidden(client, f"/runs/{name}/approve")
    other = client.post(f"/runs/{name}/approve", data={**fields, "binding": "0" * 64})
    assert 409 == other.status_code
    assert "not what would run" in other.text
    assert 303 == client.post(f"/runs/{name}/approve", data={**fields, "comment": "seen"}).status_code
    assert "succeeded" == house.ended(name).outcome
    assert "ben approved it" in client.get(f"/runs/{name}").text


def test_a_failed_run_is_tried_again_skipped_or_resumed(house: Responding, browse: Browse) -> None:
    """Retry runs the step anew; a skip needs a reason; resuming asks from where."""
    ana = browse("ana")
    name = started(send(ana, "/runbooks/slow", do="run", param__gate="/"))
    assert "failed" == house.ended(name).outcome
    page = ana.get(f"/runs/{name}").text
    assert "Broken failed: exit code 3" in page
    assert all(f'id="button-{verb}"' in page for verb in ("retry", "skip", "resume", "again"))
    send(ana, f"/runs/{name}/retry", reason="once more")
    house.until(name, lambda run: run.ended and len(run.steps) > 2)
    assert '<option value="broken" selected>' in ana.get(f"/runs/{name}/resume").text
    without = send(ana, f"/runs/{name}/skip", reason="")
    assert 422 == without.status_code
    assert "why is it skipped?" in without.text
    send(ana, f"/runs/{name}/skip", reason="known")
    assert "succeeded" == house.until(name, lambda run: run.outcome == "succeeded").outcome


def test_a_run_under_way_shows_what_is_written_and_is_cancelled(
    house: Responding, browse: Browse, tmp_path: Path
) -> None:
    """The command, its output so far, and the way to end it."""
    ana = browse("ana")
    name = started(send(ana, "/runbooks/slow", do="run", param__gate=str(tmp_path / "never")))
    house.until(name, lambda run: bool(run.steps) and "line one" in house.runbooks.live.said(name, "wait"))
    page = ana.get(f"/runs/{name}").text
    assert "line one &lt;script&gt;" in page
    assert f'data-live-run="{name}"' in page
    assert "under way" in ana.get("/runbooks").text.casefold()
    send(ana, f"/runs/{name}/cancel", reason="enough")
    assert ("cancelled", "enough") == (house.ended(name).outcome, house.ended(name).reason)
    late = send(ana, f"/runs/{name}/cancel")
    assert 409 == late.status_code


def test_who_may_not_run_is_told_why(house: Responding, browse: Browse) -> None:
    """The button is there and does nothing; a form that comes nevertheless is refused."""
    page = browse("dora").get("/runbooks/disk-full").text
    assert "dora may not run runbooks" in page
    refused = send(browse("dora"), "/runbooks/disk-full", do="run")
    assert 403 == refused.status_code
    run, _ = house.runbooks.run("fail-over", {"environment": "staging"}, "ana")
    assert 403 == send(browse("dora"), f"/runs/{run.id}/cancel", reason="no").status_code
    house.runbooks.cancel(run.id, "ana")
    house.ended(run.id)


@pytest.mark.parametrize("path", ["/runs/run-999", "/runbooks/nothing", "/runs/run-999/approve"])
def test_what_is_not_there_is_a_page_that_says_so(path: str, browse: Browse) -> None:
    """With the status for it."""
    answer = browse("ana").get(path)
    assert 404 == answer.status_code
    assert "<main>" in answer.text


@pytest.mark.parametrize("path", ["/runbooks", "/runbooks/disk-full", "/runs"])
def test_a_region_that_has_not_changed_is_not_sent_again(path: str, browse: Browse) -> None:
    """The live part alone, with an ETag, and without a form's token."""
    client = browse("ana")
    first = client.get(f"{path}?region=live")
    again = client.get(f"{path}?region=live", headers={"if-none-match": first.headers["etag"]})
    assert (200, 304) == (first.status_code, again.status_code)
    assert "csrf_token" not in first.text


def test_nobody_without_a_session_sees_any_of_it(browse: Browse) -> None:
    """They come to the page that signs in."""
    for path in ("/runbooks", "/runs", "/runbooks/disk-full", "/runs/run-1", "/runs/run-1/output/1"):
        assert "/sign-in" in browse(None).get(path).headers["location"]


def test_a_form_from_elsewhere_starts_nothing(house: Responding, browse: Browse) -> None:
    """Without the session's token, or from another origin."""
    before = len(house.runbooks.records.runs())
    client = browse("ana")
    assert 403 == client.post("/runbooks/slow", data={"do": "run", "param.gate": "/"}).status_code
    fields = hidden(client, "/runbooks/slow")
    evil = client.post(
        "/runbooks/slow", data={**fields, "do": "run"}, headers={"origin": "http://evil.example"}
    )
    assert 403 == evil.status_code
    assert before == len(house.runbooks.records.runs())


def test_pages_are_small_enough_for_a_phone(browse: Browse) -> None:
    """Under 50 KB, before they are packed."""
    sizes = {
        path: len(browse("ana").get(path).content) for path in ("/runbooks", "/runbooks/disk-full", "/runs")
    }
    assert {} == {path: size for path, size in sizes.items() if size > 50_000}
