"""Writing one post-mortem: what is asked, made, proposed and committed, in this order.

Every step may be done again: the page's place follows from the incident, what it says from the journal, and writing
the same twice is one commit. So a crash in between costs nothing but the work.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from opsbook.errors import Conflict, Failed, OpsbookError
from opsbook.journal import Entry
from opsbook.response.incidents.model import Incident
from opsbook.response.postmortems import writing
from opsbook.response.postmortems.facts import Moment, facts
from opsbook.response.postmortems.impact import impact_of, panels_of
from opsbook.response.postmortems.lesson import proposal
from opsbook.response.postmortems.model import Impact, Lesson, Record
from opsbook.response.postmortems.parts import Merged, merged
from opsbook.response.postmortems.plan import state_of
from opsbook.response.postmortems.plot import Mark, svg
from opsbook.response.postmortems.records import Records, key_of
from opsbook.response.postmortems.site import Site
from opsbook.response.runbooks.model import Run
from opsbook.world.hosts.pages import difference

ACTOR = "opsbook"
CHANGES = frozenset({"deployment.succeeded", "deployment.rolled_back", "deployment.reverted"})
SAME = 5.0  # seconds between a suspect and the event that it is


class Author:
    """See the module. The caller sees to it that nobody else writes meanwhile."""

    def __init__(self, site: Site, records: Records) -> None:
        self._site = site
        self._records = records

    def write(self, incident: Incident, actor: str, *, anew: bool = True) -> Record:
        """Write the page, or what opsbook has of it.

        Args:
            anew: also when a person has taken the page away.

        Raises:
            Conflict: the page has changes that are not committed; the incident was merged into another.
            Failed: it could not be written. The handbook is as it was.
        """
        if incident.state == "merged":
            hint = f"opsbook postmortem write {incident.merged_into}"
            raise Conflict(
                f"{incident.id} was merged into {incident.merged_into}", hint=hint, where=incident.id
            )
        site, before = self._site, self._records.get(incident.id)
        there = self._records.find(incident.id, before.path if before else "")
        if not there and before is not None and before.path and not anew:
            record = before.model_copy(update={"state": state_of(incident), "failed": "", "tries": 0})
            site.journal.append_all((), put={key_of(incident.id): record.to_json()})
            return record
        path = there or self._free_path(incident)
        impact = self._impact(incident, before)
        runs = self._runs(incident)
        plot, drawing = self._plot(incident, impact, path)
        if not plot and there and before is not None:
            plot = before.plot
        lesson = self._lesson(incident, runs, path, before)
        contents = self._contents(incident, impact, runs, lesson, plot)
        text, outcome = self._text(incident, there, contents)
        message = f"Write the post-mortem of {incident.id}"
        commit = site.pages.write({path: text, **drawing}, message, actor)
        record = Record(
            incident=incident.id,
            path=path,
            plot=plot,
            commit=commit,
            severity=incident.severity,
            written_at=site.now(),
            state=state_of(incident),
            kept=outcome.kept,
            impact=impact,
            lesson=lesson,
        )
        self._remember(record, outcome, before, actor)
        site.incidents.has_postmortem(incident.id, path, impact)
        return record

    def lesson(self, incident: Incident, actor: str) -> Lesson | None:
        """Propose the change to the runbook, anew; None: there is nothing to propose."""
        before = self._records.get(incident.id)
        path = before.path if before and before.path else writing.path_of(incident)
        lesson = self._lesson(incident, self._runs(incident), path, before, asked=True)
        if lesson is not None and lesson != (before.lesson if before else None):
            record = (before or Record(incident=incident.id)).model_copy(update={"lesson": lesson})
            entries = [_proposed(lesson, actor)] if lesson.place else []
            self._site.journal.append_all(entries, put={key_of(incident.id): record.to_json()})
        return lesson

    def _free_path(self, incident: Incident) -> str:
        """Another incident of that day may have the same title."""
        for taken in ("", incident.id):
            path = writing.path_of(incident, taken)
            if self._site.pages.read(path) is None:
                return path
        raise Conflict(f"there is another page {path}", hint="rename it", where=path)

    def _runs(self, incident: Incident) -> list[Run]:
        found = []
        for name in dict.fromkeys(incident.runs):
            try:
                if self._site.run is not None:
                    found.append(self._site.run(name))
            except OpsbookError:
                continue  # a run that is not kept any more is still named in the timeline
        return sorted(found, key=lambda run: run.requested_at)

    def _impact(self, incident: Incident, before: Record | None) -> Impact:
        """What was measured once stays, when the samples are not kept any more."""
        found = impact_of(incident, self._site.queries, self._site.now())
        known = before.impact if before is not None else None
        if known is not None and known.measured and not found.measured and known.start == found.start:
            return known
        return found

    def _plot(self, incident: Incident, impact: Impact, path: str) -> tuple[str, dict[str, str]]:
        """The name of the picture beside the page, and the file; empty when nothing was measured."""
        panels, start, end = panels_of(incident, self._site.queries, self._site.now())
        if not panels:
            return "", {}
        text = svg(
            panels,
            start,
            end,
            band=(impact.start, impact.end),
            marks=_marks(incident, self._timeline(incident)),
            title=f"{incident.id}: what was measured",
        )
        file = f"{path.removesuffix('.md')}.svg"
        return file.rpartition("/")[2], {file: self._site.mask(text)}

    def _lesson(
        self, incident: Incident, runs: list[Run], path: str, before: Record | None, *, asked: bool = False
    ) -> Lesson | None:
        site, book = self._site, self._site.book()
        known = before.lesson if before else None
        if not book.postmortems.lessons and not asked:
            return known
        name = ""
        try:
            found = proposal(incident, runs, dict(book.runbooks), path, writing.day_of(incident))
            if found is None:
                return known
            name = found.runbook
            source = "" if found.new else book.runbooks[name].source
            if site.mask(source) != source:  # masking it would change what its steps do
                raise Failed("no change to the runbook is proposed: a secret stands in it", where=found.file)
            files = {found.file: site.mask(found.text)}
            patch = difference(found.file, None if found.new else source, files[found.file])
            lesson = Lesson(incident=incident.id, runbook=name, new=found.new, patch=patch)
        except OpsbookError as error:
            return known or Lesson(incident=incident.id, runbook=name, problem=error.message)
        message = f"Take the lesson of {incident.id} into the runbook {name}"
        try:
            commit, place = site.pages.propose(f"lesson/{incident.id}", files, message, ACTOR)
        except OpsbookError as error:
            return lesson.model_copy(update={"problem": error.message})
        return lesson.model_copy(update={"commit": commit, "place": place})

    def _timeline(self, incident: Incident) -> list[Moment]:
        """Without what is written about it afterwards: that is this page."""
        every = self._site.incidents.timeline(incident.id)
        return [one for one in every if not one.kind.startswith("postmortem.")]

    def _contents(
        self, incident: Incident, impact: Impact, runs: list[Run], lesson: Lesson | None, plot: str
    ) -> dict[str, str]:
        timeline = self._timeline(incident)
        said = facts(incident, timeline=timeline, impact=impact, runs=runs, lesson=lesson, plot=plot)
        return {name: self._site.mask(text) for name, text in writing.parts(said).items()}

    def _text(self, incident: Incident, there: str, contents: Mapping[str, str]) -> tuple[str, Merged]:
        present = self._site.pages.read(there) if there else None
        if present is None:
            text = self._site.mask(writing.page(incident, contents))
            return text, Merged(text, tuple(contents), (), ())
        outcome = merged(present, contents)
        return outcome.text, outcome

    def _remember(self, record: Record, outcome: Merged, before: Record | None, actor: str) -> None:
        data = {
            "incident": record.incident,
            "path": record.path,
            "commit": record.commit,
            "updated": list(outcome.updated),
            "kept": list(outcome.kept),
        }
        entries = []
        if outcome.updated or before is None or before.failed:
            entries.append(Entry("postmortem.written", record.incident, data, actor))
        lesson = record.lesson
        if lesson is not None and lesson.place and lesson != (before.lesson if before else None):
            entries.append(_proposed(lesson, actor))
        self._site.journal.append_all(entries, put={key_of(record.incident): record.to_json()})


def _proposed(lesson: Lesson, actor: str) -> Entry:
    data = {key: getattr(lesson, key) for key in ("incident", "runbook", "place", "commit")}
    return Entry("postmortem.lesson_proposed", lesson.incident, data, actor)


def _marks(incident: Incident, timeline: Sequence[Moment]) -> list[Mark]:
    """Deployments, detection and end: what the lines of the plot are read against."""
    marks = [
        Mark(one.at, one.text or one.subject, "deploy")
        for one in incident.suspects
        if one.kind in {"deployment", "rollback", "scaling"}
    ]
    known = [mark.at for mark in marks]
    marks += [
        Mark(one.at, one.text, "deploy")
        for one in timeline
        if one.kind in CHANGES and not any(abs(one.at - at) < SAME for at in known)
    ]
    marks.append(Mark(incident.detected_at, "detected", "detect"))
    for at, word in ((incident.mitigated_at, "mitigated"), (incident.resolved_at, "resolved")):
        if at is not None and (word == "resolved" or at != incident.resolved_at):
            marks.append(Mark(at, word, "end"))
    return marks
