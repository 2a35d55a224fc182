"""Who is to be told of an incident: kept with what they are told of, until they have heard it, also after a crash."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Collection, Iterator
from typing import Any

from opsbook.errors import NotFound
from opsbook.response.incidents.model import Incident
from opsbook.response.incidents.plan import Changed
from opsbook.response.incidents.records import Records
from opsbook.response.incidents.telling import Telling, words_for

_log = logging.getLogger(__name__)


def news_of(changed: Changed, channels: Collection[str], now: float) -> Iterator[dict[str, Any]]:
    """What is to be told of a change: to those who wait for incidents that open, and to channels."""
    incident, kinds = changed.incident, {note.kind for note in changed.notes}
    if "opened" in kinds:
        yield {"id": f"{incident.id}-opened", "what": "opened", "incident": incident.id, "at": now}
    words = words_for(incident, kinds)
    for channel in channels if words is not None else ():
        assert words is not None
        yield {
            "id": f"{incident.id}-{words.key}-{channel}", "what": "told", "incident": incident.id, "at": now,
            "channel": channel, "title": words.title, "text": words.text,
        }  # fmt: skip


class News:
    """See the module. `opened`: who is called for each incident that opens."""

    def __init__(self, records: Records) -> None:
        self._records = records
        self._lock = threading.Lock()
        self.opened: list[Callable[[Incident], object]] = []

    def tell(
        self,
        get: Callable[[str], Incident],
        send: Callable[[Telling], object] | None,
        closing: Callable[[], bool],
    ) -> bool:
        """Tell what is to be told.

        Args:
            get: an incident by its id. send: to a channel; None: there are none.
            closing: whether to stop; the rest is told after the next start.

        Returns:
            Whether something is left to be told.
        """
        with self._lock:
            left = False
            for one in self._records.news():
                if closing():
                    return True
                if self._told(one, get, send):
                    self._records.told([one["id"]])
                else:
                    left = True
            return left

    def _told(
        self, news: dict[str, Any], get: Callable[[str], Incident], send: Callable[[Telling], object] | None
    ) -> bool:
        try:
            if news["what"] == "opened":
                incident = get(news["incident"])
                for callback in tuple(self.opened):
                    callback(incident)
            elif send is not None:
                send(Telling(news["id"], news["channel"], news["incident"], news["title"], news["text"]))
        except NotFound as error:
            # A channel that is in the handbook no more will never hear of it.
            _log.warning("%s of incidents is not told: %s", news["id"], error)
            return bool(news["what"] == "told")
        except Exception:
            # There is nobody to raise to in this thread; it is tried again.
            _log.exception("%s of incidents could not be told", news["id"])
            return False
        return True
