"""The store: what was put is there, whatever happens; what cannot be used is refused in a line."""

from __future__ import annotations

import math
import os
import resource
import sqlite3
import subprocess
import sys
from dataclasses import replace

import pytest

from thalweg.lab.plan import Trial
from thalweg.lab.store import APPLICATION, VERSION, Store, Unusable
from thalweg.lab.trial import Outcome

TRIAL = Trial("digits", "adam", "{}", 0.003, 0, 20)
OUTCOME = Outcome(97.5, 96.1, 680, 0.25, False, "", (2.3, 0.1), (2.3, 0.2))


def fill(folder, n=50):
    """A store with n outcomes; returns them."""
    kept = {replace(TRIAL, seed=i): replace(OUTCOME, seconds=i / 7) for i in range(n)}
    with Store(folder) as store:
        for item in kept.items():
            store.put(*item)
    return kept


def refusal(folder):
    """The one line with which a folder is refused."""
    with pytest.raises(Unusable) as e:
        Store(folder).get([TRIAL])
    assert "\n" not in str(e.value)
    return str(e.value)


@pytest.mark.parametrize(
    "outcome",
    [
        OUTCOME,
        Outcome(0.0, 0.0, 34, 0.1, True, "", (2.3,), (2.3,)),
        Outcome(math.inf, math.inf, 57, 0.1, True),
        replace(OUTCOME, validation=0.1 + 0.2, train_curve=(5e-324, 1.7976931348623157e308)),
    ],
)
def test_outcomes_come_back_to_the_last_bit(tmp_path, outcome):
    with Store(tmp_path / "new" / "folders") as store:
        store.put(TRIAL, outcome)
        assert store.get([TRIAL, replace(TRIAL, seed=1)]).keys() == {TRIAL}
    with Store(tmp_path / "new" / "folders") as store:
        assert repr(store.get([TRIAL])) == repr({TRIAL: outcome})  # NaN is not equal to itself


def test_a_failed_trial_counts_as_unknown_until_it_is_run(tmp_path):
    with Store(tmp_path) as store:
        store.put(TRIAL, Outcome(error="ValueError: no"))
        assert store.get([TRIAL]) == {}
        store.put(TRIAL, OUTCOME)
        assert store.get([TRIAL]) == {TRIAL: OUTCOME}


def make_foreign(path):
    path.write_text("accuracy,97.5\n" * 100)


def make_other_program(path):
    db = sqlite3.connect(path)
    db.executescript("CREATE TABLE birds (name); INSERT INTO birds VALUES ('wren')")
    db.close()


def make_other_version(path):
    fill(path.parent)
    db = sqlite3.connect(path)
    db.execute(f"PRAGMA user_version = {VERSION + 1}")
    db.close()


def make_truncated(path):
    fill(path.parent)
    os.truncate(path, path.stat().st_size // 2)


def make_corrupt_page(path):
    fill(path.parent)
    with path.open("r+b") as f:
        f.seek(2 * 4096)
        f.write(b"\xff" * 4096)


def make_corrupt_row(path):
    fill(path.parent)
    db = sqlite3.connect(path)
    db.execute("UPDATE trials SET outcome = '{\"validation\"' WHERE key = ?", (TRIAL.key,))
    db.commit()
    db.close()


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (make_foreign, "is not a database: move it away"),
        (make_other_program, "is of another program: move it away"),
        (make_other_version, f"is of version {VERSION + 1}, this is version {VERSION}: move it"),
        (make_truncated, "is damaged: move it away"),
        (make_corrupt_page, "is damaged: move it away"),
        (make_corrupt_row, "is damaged: move it away"),
    ],
)
def test_a_file_that_is_not_ours_is_refused_and_left_as_it_was(tmp_path, make, words):
    path = tmp_path / "race.sqlite"
    make(path)
    before = path.read_bytes()
    message = refusal(tmp_path)
    assert words in message
    assert str(path) in message
    assert "--out" in message
    assert path.read_bytes() == before
    assert os.listdir(tmp_path) == ["race.sqlite"]


def test_folders_that_cannot_be_written(tmp_path):
    file = tmp_path / "file"
    file.touch()
    assert refusal(file) == f"{file} is a file, not a folder"
    assert refusal(file / "below") == f"cannot write to {file / 'below'}: Not a directory"
    (tmp_path / "folder" / "race.sqlite").mkdir(parents=True)
    assert "cannot open" in refusal(tmp_path / "folder")
    if sys.platform == "linux":  # where not even root can write
        assert "cannot write to /proc/race" in refusal(type(tmp_path)("/proc/race"))
        assert "cannot open /proc/self/race.sqlite" in refusal(type(tmp_path)("/proc/self"))


def test_a_second_process_is_refused_and_the_first_goes_on(tmp_path):
    code = f"""
import sqlite3
db = sqlite3.connect({str(tmp_path / "race.sqlite")!r}, isolation_level=None, timeout=0)
db.execute("BEGIN EXCLUSIVE")
print("locked", flush=True)
input()
"""
    kept = fill(tmp_path, 3)
    other = subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    with other:
        assert other.stdout.readline() == "locked\n"
        assert refusal(tmp_path) == f"another race is using {tmp_path / 'race.sqlite'}"
        other.communicate("\n")
    with Store(tmp_path) as store:
        assert "another race is using" in refusal(tmp_path)
        store.put(replace(TRIAL, seed=9), OUTCOME)
        assert len(store.get([*kept, replace(TRIAL, seed=9)])) == 4


MORE = {replace(TRIAL, seed=1000 + i): OUTCOME for i in range(100)}


def put_all(store, done):
    for trial, outcome in MORE.items():
        store.put(trial, outcome)
        done[trial] = outcome


def test_a_full_disk_loses_nothing_that_was_there(tmp_path):
    kept = fill(tmp_path)
    with Store(tmp_path) as store:
        pages = store.db.execute("PRAGMA page_count").fetchone()[0]
        store.db.execute(f"PRAGMA max_page_count = {pages}")
        done = {}
        with pytest.raises(Unusable, match=r"the disk is full: cannot write .*race.sqlite$"):
            put_all(store, done)
        assert store.get([*kept, *MORE]) == kept | done
    with Store(tmp_path) as store:  # there is room again
        put_all(store, done)
        assert store.get([*kept, *MORE]) == kept | MORE


def test_a_write_that_the_system_refuses(tmp_path):
    kept = fill(tmp_path)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    with Store(tmp_path) as store:
        size = (tmp_path / "race.sqlite").stat().st_size
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
        try:
            with pytest.raises(Unusable, match=r"the disk does not answer, or is full"):
                put_all(store, {})
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    with Store(tmp_path) as store:
        assert store.get(kept) == kept
        put_all(store, {})


# Forks children that put outcomes and say so, and kills each after a few milliseconds.
KILLED = """
import os, random, signal, sys, time
from dataclasses import replace
from pathlib import Path
from thalweg.lab.plan import Trial
from thalweg.lab.store import Store
from thalweg.lab.trial import Outcome

folder, rounds = Path(sys.argv[1]), int(sys.argv[2])
trial = Trial("digits", "adam", "{}", 0.003, 0, 20)
for r in range(rounds):
    read, write = os.pipe()
    child = os.fork()
    if not child:
        with Store(folder) as store:
            for i in range(1_000_000):
                t = replace(trial, seed=1_000_000 * r + i)
                store.put(t, Outcome(float(t.seed), 0.0, 1, 0.1, False, "", (1.0,) * 200, (2.0,)))
                os.write(write, b"%d\\n" % t.seed)
    time.sleep(random.random() * 0.1)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    os.close(write)
    print(os.fdopen(read).read(), end="")
"""


def test_killed_at_any_moment(tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", KILLED, tmp_path, "40"], capture_output=True, text=True, check=True
    )
    said = [int(line) for line in done.stdout.split()]
    assert len(said) > 20
    with Store(tmp_path) as store:
        found = store.get(replace(TRIAL, seed=s) for s in said)
        assert [o.validation for o in found.values()] == said
        # At most the outcome that was being written is there without having been announced.
        assert len(said) <= store.db.execute("SELECT count(*) FROM trials").fetchone()[0]
        assert store.db.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        owner = store.db.execute("PRAGMA application_id").fetchone()
        assert owner == (APPLICATION,)
