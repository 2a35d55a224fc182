"""Every failure has one shape, and says nothing it should not."""

from __future__ import annotations

from typing import Any

import pytest

from opsbook.errors import Conflict, Invalid, Locked, NotFound, OpsbookError


def test_an_error_of_a_room_keeps_its_kind_hint_and_details(served: Any) -> None:
    """What is raised there is raised here."""
    with pytest.raises(Locked) as caught:
        served.api.post("/api/deployment/restarts", {"service": "busy", "environment": "production"})
    assert caught.value.details["holder"] == "ana"
    assert "lock release" in caught.value.hint


def test_an_unknown_path_is_not_found(served: Any) -> None:
    """With the place of the description."""
    with pytest.raises(NotFound) as caught:
        served.api.get("/api/nothing")
    assert caught.value.where == "GET /api/nothing"


def test_a_wrong_method_is_invalid(served: Any) -> None:
    """It says which."""
    with pytest.raises(Invalid):
        served.api.delete("/api/status")


def test_a_wrong_parameter_is_invalid_and_named(served: Any) -> None:
    """Validation speaks in our shape too."""
    with pytest.raises(Invalid, match="limit"):
        served.api.get("/api/journal/events", {"limit": 0})


def test_an_unforeseen_error_keeps_its_secrets_and_is_found_in_the_log(served: Any) -> None:
    """The caller gets a reference; the owner finds the cause under it."""
    with pytest.raises(OpsbookError) as caught:
        served.api.get("/api/broken")
    reference = caught.value.details["reference"]
    assert "hunter2" not in str(caught.value.to_json())
    log = (served.state / "opsbook.log").read_text()
    assert reference in log
    assert "hunter2" in log


def test_stopping_services_that_fail_leaves_the_server_running(place: Any) -> None:
    """Nobody is told that all has ended when it has not."""
    (place.book / "undying").write_text("")
    place.serve()
    with pytest.raises(Conflict, match="does not end"):
        place.api.post("/api/server/stop", {"services": True})
    assert place.api.get("/api/health")["ok"]
