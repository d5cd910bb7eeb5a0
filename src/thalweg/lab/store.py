"""Outcomes on disk, each safe from the moment it has arrived.

One SQLite file, one row per trial under the trial's key. A row is written in a transaction of its
own, so that a process killed at any moment loses at most the trials that were still running.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Self

from thalweg.lab.plan import Trial
from thalweg.lab.trial import Outcome

VERSION = 1
APPLICATION = 0x7468616C  # "thal", in SQLite's header
ADVICE = "move it away, or give another folder with --out"
REASONS = {  # by how SQLite's own names of errors begin
    "SQLITE_BUSY": "another race is using {path}",
    "SQLITE_FULL": "the disk is full: cannot write {path}",
    "SQLITE_IOERR": "the disk does not answer, or is full: cannot use {path}",
    "SQLITE_CANTOPEN": "cannot open {path}, or not write beside it",
    "SQLITE_READONLY": "cannot write {path}",
    "SQLITE_NOTADB": "{path} is not a database: " + ADVICE,
    "SQLITE_CORRUPT": "{path} is damaged: " + ADVICE,
}


class Unusable(Exception):
    """A store that cannot be used; the message says why, in one line."""


class Store:
    """The outcomes of races in one folder. Only one process may have it open."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "race.sqlite"
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except FileExistsError:
            raise Unusable(f"{folder} is a file, not a folder") from None
        except OSError as e:
            raise Unusable(f"cannot write to {folder}: {e.strerror}") from None
        with self._reasons():
            self.db = sqlite3.connect(self.path, isolation_level=None, timeout=0)
        try:
            with self._reasons():
                self._open()
        except BaseException:
            self.db.close()
            raise

    def _open(self) -> None:
        # The lock belongs to the process and goes with it.
        self.db.execute("PRAGMA locking_mode = EXCLUSIVE")
        self.db.execute("PRAGMA synchronous = FULL")
        self.db.execute("BEGIN EXCLUSIVE")
        owner, version, tables = (
            self.db.execute(q).fetchone()[0]
            for q in (
                "PRAGMA application_id",
                "PRAGMA user_version",
                "SELECT count(*) FROM sqlite_master",
            )
        )
        if (owner or version or tables) and (owner, version) != (APPLICATION, VERSION):
            if owner == APPLICATION:
                was = f"of version {version}, this is version {VERSION}"
            else:
                was = "of another program"
            raise Unusable(f"{self.path} is {was}: {ADVICE}")
        if self.db.execute("PRAGMA quick_check(1)").fetchone()[0] != "ok":
            raise Unusable(f"{self.path} is damaged: {ADVICE}")
        if not tables:
            self.db.execute(
                "CREATE TABLE trials"
                " (key TEXT PRIMARY KEY, trial TEXT NOT NULL, outcome TEXT NOT NULL) WITHOUT ROWID"
            )
            self.db.execute(f"PRAGMA user_version = {VERSION}")
            self.db.execute(f"PRAGMA application_id = {APPLICATION}")
        self.db.execute("COMMIT")

    @contextmanager
    def _reasons(self) -> Iterator[None]:
        """Turn what SQLite raises into what the user can do something about."""
        try:
            yield
        except sqlite3.Error as e:
            name = getattr(e, "sqlite_errorname", "")
            for prefix, why in REASONS.items():
                if name.startswith(prefix):
                    raise Unusable(why.format(path=self.path)) from None
            raise Unusable(f"cannot use {self.path}: {e}") from None

    def put(self, trial: Trial, outcome: Outcome) -> None:
        """Keep an outcome, in place of what was known of the trial."""
        row = (trial.key, json.dumps(trial.as_dict()), json.dumps(vars(outcome)))
        with self._reasons():
            self.db.execute("INSERT OR REPLACE INTO trials VALUES (?, ?, ?)", row)

    def get(self, trials: Iterable[Trial]) -> dict[Trial, Outcome]:
        """What is known of these trials; failed ones count as unknown, and are tried again."""
        found: dict[Trial, Outcome] = {}
        for trial in trials:
            with self._reasons():
                row = self.db.execute(
                    "SELECT outcome FROM trials WHERE key = ?", (trial.key,)
                ).fetchone()
            if row:
                try:
                    outcome = Outcome.of(json.loads(row[0]))
                except (TypeError, ValueError, RecursionError):
                    raise Unusable(f"{self.path} is damaged: {ADVICE}") from None
                if not outcome.error:
                    found[trial] = outcome
        return found

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, e: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.db.close()
