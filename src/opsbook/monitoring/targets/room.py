"""The room of targets: follows the handbook and the files, and says at any time what is to be scraped."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from opsbook.book import Book
from opsbook.monitoring.rules.model import RuleGroup
from opsbook.monitoring.targets.plan import groups_of, targets_of, unique
from opsbook.world.telemetry.names import Names
from opsbook.world.telemetry.target_files import TargetFiles
from opsbook.world.words import Clock, Target

SECRETS_FRESH = 15.0  # seconds after which a secret is read again


class ExtraTargets:
    """See the module. `targets` is for one thread.

    Args:
        book: the handbook as last read.
        folder: where it lies.
        secret: the value of a secret.
        clock: its monotonic one.
        log: a sentence for people, once each time something begins to be wrong.
    """

    def __init__(
        self,
        book: Callable[[], Book],
        folder: Path,
        *,
        secret: Callable[[str], str],
        clock: Clock,
        log: Callable[[str], None] = lambda _: None,
        names: Names | None = None,
    ) -> None:
        self._book = book
        self._folder = folder
        self._secret = secret
        self._clock = clock
        self._log = log
        self._names = names or Names(clock)
        self._files = TargetFiles()
        self._secrets: dict[str, tuple[float, str]] = {}
        self._said: set[str] = set()

    def targets(self) -> list[Target]:
        """What is to be scraped now. Never waits for a name server; a name that is asked for the first time is there
        the next time."""
        specs = self._book().targets
        found: list[Target] = []
        for spec in specs:
            listed = self._files.look(self._folder, spec.files)
            found += targets_of(
                spec, listed, folder=self._folder, secret=self._value, resolve=self._names.address
            )
        self._files.forget_missing()
        kept, twice = unique(found)
        self._say({f"targets: {problem}" for problem in (*self._files.problems(), *twice)})
        return kept

    def groups(self, book: Book) -> Sequence[RuleGroup]:
        """The alerts of targets that do not answer."""
        return groups_of(book.targets)

    def close(self) -> None:
        """Ask for no more names."""
        self._names.close()

    def _value(self, name: str) -> str:
        """A secret, decrypted at most every few seconds."""
        now = self._clock.monotonic()
        known = self._secrets.get(name)
        if known is None or now - known[0] >= SECRETS_FRESH:
            known = self._secrets[name] = (now, self._secret(name))
        return known[1]

    def _say(self, problems: set[str]) -> None:
        for problem in sorted(problems - self._said):
            self._log(problem)
        self._said = problems
