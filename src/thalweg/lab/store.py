"""Outcomes on disk, each safe from the moment it has arrived.

One SQLite file, one row per trial under the trial's key. A row is written in a transaction of its
own, so that a process killed at any moment loses at most the trials that were still running.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable
from pathlib import Path
from types import TracebackType
from typing import Self

from thalweg.lab.plan import Trial
from thalweg.lab.trial import Outcome

VERSION = 1
APPLICATION = 0x7468616C  # "thal", in SQLite's header


class Unusable(Exception):
    """A store that cannot be used; the message says why, in one line."""


class Store:
    """The outcomes of races in one folder. Only one process may have it open."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "race.sqlite"
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self.db = sqlite3.connect(self.path, isolation_level=None, timeout=0)
            self._open()
        except FileExistsError:
            raise Unusable(f"{folder} is a file, not a folder") from None
        except OSError as e:
            raise Unusable(f"cannot write to {folder}: {e.strerror}") from None
        except sqlite3.Error as e:
            raise Unusable(self._reason(e)) from None

    def _open(self) -> None:
        # The lock belongs to the process and goes with it.
        self.db.execute("PRAGMA locking_mode = EXCLUSIVE")
        self.db.execute("PRAGMA synchronous = FULL")
        self.db.execute("BEGIN EXCLUSIVE")
        version, owner, tables = (
            self.db.execute(q).fetchone()[0]
            for q in (
                "PRAGMA user_version",
                "PRAGMA application_id",
                "SELECT count(*) FROM sqlite_master",
            )
        )
        if tables and (owner, version) != (APPLICATION, VERSION):
            was = f"of version {version}" if owner == APPLICATION else "of another program"
            self.db.close()
            raise Unusable(
                f"{self.path} is {was}, this is version {VERSION}: move it away, or give another "
                "folder with --out"
            )
        self.db.execute(
            "CREATE TABLE IF NOT EXISTS trials"
            " (key TEXT PRIMARY KEY, trial TEXT NOT NULL, outcome TEXT NOT NULL) WITHOUT ROWID"
        )
        self.db.execute(f"PRAGMA user_version = {VERSION}")
        self.db.execute(f"PRAGMA application_id = {APPLICATION}")
        self.db.execute("COMMIT")

    def _reason(self, e: sqlite3.Error) -> str:
        match getattr(e, "sqlite_errorname", ""):
            case name if name.startswith("SQLITE_BUSY"):
                return f"another race is using {self.path}"
            case name if name.startswith("SQLITE_FULL"):
                return f"the disk is full: {self.path} was not written"
            case "SQLITE_NOTADB":
                return f"{self.path} is not a database: move it away, or give another folder"
        return f"cannot use {self.path}: {e}"

    def put(self, trial: Trial, outcome: Outcome) -> None:
        """Keep an outcome. A trial that failed may be tried again; one that was run stays."""
        row = (trial.key, json.dumps(trial.as_dict()), json.dumps(vars(outcome)))
        try:
            self.db.execute("INSERT OR REPLACE INTO trials VALUES (?, ?, ?)", row)
        except sqlite3.Error as e:
            raise Unusable(self._reason(e)) from None

    def get(self, trials: Iterable[Trial]) -> dict[Trial, Outcome]:
        """What is known of these trials; failed ones count as unknown."""
        found: dict[Trial, Outcome] = {}
        for trial in trials:
            row = self.db.execute(
                "SELECT outcome FROM trials WHERE key = ?", (trial.key,)
            ).fetchone()
            if row:
                outcome = Outcome.of(json.loads(row[0]))
                if not outcome.error:
                    found[trial] = outcome
        return found

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, e: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.db.close()
