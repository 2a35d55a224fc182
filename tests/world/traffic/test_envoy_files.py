"""What is written for Envoy, without Envoy: only what changes, and never more than the kernel can watch."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from opsbook.errors import Failed
from opsbook.world.traffic import watching
from opsbook.world.traffic.configuration import Folder, clusters_in, render
from opsbook.world.words import Address, Backend, Endpoint, Listener, Route, RouteTable, Split

BLUE = Backend("p/web/blue", "http", (Endpoint("a", Address("127.0.0.1", 1001)),))
GREEN = Backend("p/web/green", "http", (Endpoint("b", Address("127.0.0.1", 1002)),))


def table(*backends: Backend, to: Backend) -> RouteTable:
    route = Route("web", Split(((to.name, 1),)))
    return RouteTable((Listener("p", Address("127.0.0.1", 8080), "http", (route,)),), backends)


def rendered(wanted: RouteTable, generation: int, **more):
    return render(wanted, generation, folder=Folder(Path("/state/xds")), probe_host="probe", **more)


def changed(before, after) -> set[str]:
    texts = {document.path: document.text for document in before.documents()}
    return {
        document.path.parent.name
        for document in after.documents()
        if texts.get(document.path) != document.text
    }


def test_a_switch_changes_the_routes_only():
    """Neither the listener nor a cluster is touched, so nothing of them can be disturbed."""
    before = rendered(table(BLUE, GREEN, to=BLUE), 1)
    assert changed(before, rendered(table(BLUE, GREEN, to=GREEN), 2)) == {"rds"}


def test_an_endpoint_changes_its_own_file_and_the_generation():
    """The cluster stays as it is, and so do its health and its connections."""
    draining = replace(BLUE, endpoints=(replace(BLUE.endpoints[0], draining=True),))
    before = rendered(table(BLUE, GREEN, to=GREEN), 1)
    assert changed(before, rendered(table(draining, GREEN, to=GREEN), 2)) == {"eds", "rds"}


def test_clusters_of_earlier_tables_are_kept_until_told_otherwise():
    """What routes may still refer to is written again; what the table has itself is not doubled."""
    before = rendered(table(BLUE, to=BLUE), 1)
    kept = clusters_in(before.clusters.text)
    after = rendered(table(GREEN, to=GREEN), 2, kept_clusters=kept)
    assert [each["name"] for each in clusters_in(after.clusters.text)] == [GREEN.name, BLUE.name]
    again = rendered(table(GREEN, to=GREEN), 2, kept_clusters=clusters_in(after.clusters.text))
    assert again.clusters.text == after.clusters.text
    assert clusters_in("") == clusters_in('{"resou') == ()


def test_more_files_than_the_kernel_watches_are_refused(tmp_path, monkeypatch):
    """Envoy would abort; we say which setting to raise."""
    limit = tmp_path / "max_user_instances"
    limit.write_text("8\n")
    monkeypatch.setattr(watching, "INOTIFY_LIMIT", limit)
    watching.check_watches(1, None)
    with pytest.raises(Failed, match="would watch 9 files") as caught:
        watching.check_watches(9, None)
    assert "sysctl fs.inotify.max_user_instances" in caught.value.hint
