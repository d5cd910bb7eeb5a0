"""The command line as people use it, mistakes included."""

from __future__ import annotations

import html
import io
import json
import os
import re
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from importlib import import_module
from pathlib import Path

import pytest

from thalweg import cli
from thalweg.lab import bench
from thalweg.lab.contender import PACES
from thalweg.lab.source import described
from thalweg.lab.trial import Outcome
from thalweg.optim.registry import ALGORITHMS
from thalweg.problems import PROBLEMS
from thalweg.schedules import SCHEDULES

SMALL = ["race", "least-squares", "--optimizers", "sgd,adam", "--seeds", "1", "--rates", "3"]


def thalweg(*arguments):
    return [sys.executable, "-m", "thalweg", *map(str, arguments)]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["race", "digit"], "did you mean 'digits'"),
        (["race", "digits", "--optimizers", "adm"], "did you mean 'adam'"),
        (["race", "digits", "--optimizers", ""], "no optimizer ''"),
        (["race", "digits", "--seeds", "0"], "--seeds: must be at least 1, not 0"),
        (["race", "digits", "--rates", "four"], "--rates: invalid whole number value: 'four'"),
        (["race", "digits", "--rates", "4"], "rates must be odd"),
        (["race", "digits", "--epochs", "-1"], "--epochs: must be at least 1, not -1"),
        (["race", "digits", "--speed", "9"], "--speed"),
        (["race"], "PROBLEM"),
        (["explain", "adamv"], "did you mean 'adam"),
        (["explain", "all"], "one optimizer"),
        (["explain", "rules.py"], "write rules.py:NAME"),
        (["bench", "--models", "gpt3"], "did you mean 'gpt2'"),
        (["bench", "--engines", "turbo"], "no engine 'turbo'"),
        (["rase"], "'rase'"),
        ([], "COMMAND"),
    ],
    ids=" ".join,
)
def test_a_mistake_is_one_line_and_exit_code_two(arguments, said, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert cli.main(arguments) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.count("\n") == 1
    assert captured.err.startswith("thalweg: ")
    assert said in captured.err
    assert not list(tmp_path.iterdir())


def occupied_by_file(path):
    path.write_text("mine")


def other_version(path):
    path.mkdir()
    with sqlite3.connect(path / "race.sqlite") as db:
        db.execute("CREATE TABLE trials (x)")
        db.execute("PRAGMA user_version = 99")
        db.execute(f"PRAGMA application_id = {0x7468616C}")
    db.close()


@pytest.mark.parametrize(
    ("spoil", "said"),
    [(occupied_by_file, "not a folder"), (other_version, "version 99")],
    ids=lambda x: getattr(x, "__name__", ""),
)
def test_a_folder_that_cannot_serve(spoil, said, tmp_path, capsys):
    spoil(tmp_path / "out")
    assert cli.main([*SMALL, "--out", str(tmp_path / "out")]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert said in error


def test_a_race_ends_with_table_sentence_and_report(tmp_path, capsys):
    arguments = [*SMALL, "--out", str(tmp_path / "a b")]
    assert cli.main(arguments) == 0
    out = capsys.readouterr().out
    for words in ("6 of 6 trainings", "best", "told", "SGD", "Adam", "report.html"):
        assert words in out
    page = (tmp_path / "a b" / "report.html").read_text()
    again = f"thalweg {' '.join(SMALL)} --out '{tmp_path}/a b'"
    assert again in html.unescape(page)
    assert cli.main(arguments) == 0
    assert "6 of 6 trainings were already there" in capsys.readouterr().out


BROKEN = """
from thalweg.optim import SGD

class Broken(SGD):
    def step(self, closure=None):
        raise RuntimeError("out of order")
"""


def test_failed_trainings_are_exit_code_one(tmp_path, capsys):
    (tmp_path / "own.py").write_text(BROKEN)
    small = ["--rates", "1", "--seeds", "1", "--epochs", "1", "--out", str(tmp_path / "out")]
    both = f"sgd,{tmp_path}/own.py:Broken"
    assert cli.main(["race", "least-squares", "--optimizers", both, *small]) == 1
    assert "Broken is left out" in capsys.readouterr().out
    assert cli.main(["race", "least-squares", "--optimizers", "sgd", *small]) == 0


def heed_ctrl_c():
    """A shell's background job ignores Ctrl-C, and so would what is started from it."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


@pytest.mark.skipif(sys.platform == "win32", reason="signals are another thing there")
def test_ctrl_c_leaves_a_race_that_goes_on(tmp_path):
    arguments = ["race", "digits", "--optimizers", "sgd", "--out", tmp_path / "run"]
    race = subprocess.Popen(
        thalweg(*arguments), stdout=subprocess.PIPE, text=True, preexec_fn=heed_ctrl_c
    )
    store = tmp_path / "run" / "race.sqlite"
    until = time.monotonic() + 60
    while time.monotonic() < until and not (store.exists() and store.stat().st_size > 20_000):
        time.sleep(0.05)
    race.send_signal(signal.SIGINT)
    out, _ = race.communicate(timeout=60)
    assert race.returncode == 130
    command = f"thalweg race digits --optimizers sgd --out {tmp_path / 'run'}"
    assert out.rstrip().endswith(command)
    assert "Traceback" not in out
    done = subprocess.run(
        thalweg(*arguments), capture_output=True, text=True, timeout=120, check=True
    )
    found = re.search(r"(\d+) of 27 trainings were already there", done.stdout)
    assert found is not None
    assert 0 < int(found[1]) < 27


def test_list_names_everything(capsys):
    assert cli.main(["list"]) == 0
    out = capsys.readouterr().out
    for name in (*ALGORITHMS, *SCHEDULES, *PACES, *PROBLEMS):
        assert re.search(rf"^  {re.escape(name)} ", out, re.MULTILINE), name


@pytest.mark.parametrize("name", ALGORITHMS)
def test_explain_has_every_part(name, capsys):
    assert cli.main(["explain", name]) == 0
    out = capsys.readouterr().out
    for part in ("Update, with g", "State:", "lr = ", "engine = auto", "disagree", "Ref"):
        assert part in out
    assert re.search("^    w +← ", out, re.MULTILINE)
    assert max(map(len, out.splitlines())) <= 100
    assert "``" not in out
    assert cli.main(["explain", name, "--latex"]) == 0
    latex = capsys.readouterr().out
    assert latex.startswith(r"\begin{aligned}")
    assert r"  w &\gets " in latex
    assert latex.count("{") == latex.count("}")


def test_bench_prints_json(capsys, monkeypatch):
    monkeypatch.setattr(bench, "STREAM", 100_000)
    assert cli.main(["bench", "--optimizers", "adam", "--models", "mlp", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    fused, plain = found["rows"]
    assert (fused["engine"], plain["engine"]) == ("fused", "plain")
    assert (fused["weights"], fused["tensors"]) == (79_510, 4)
    assert fused["bytes_per_weight"] == 28
    assert set(fused["torch"]) == {"loop", "foreach", "fused"}
    assert {i["optimizer"].split()[0] for i in found["iterations"]} == {"thalweg", "torch"}
    assert all(0 < i["step_share"] < 1 for i in found["iterations"])


def test_bench_prints_a_table(capsys, monkeypatch):
    monkeypatch.setattr(bench, "STREAM", 100_000)
    arguments = ["bench", "--optimizers", "rmsprop", "--models", "mlp", "--engines", "fused"]
    assert cli.main(arguments) == 0
    out = capsys.readouterr().out
    for words in ("mlp", "0.07951 million weights", "rmsprop", "GB/s", "training iteration"):
        assert words in out


def test_a_reader_that_leaves_early_is_no_error():
    done = subprocess.run(
        f"{' '.join(thalweg('explain', 'adam'))} | head -1",
        shell=True, capture_output=True, text=True, timeout=60, check=True,
    )  # fmt: skip
    assert done.stdout == "Adam\n"
    assert done.stderr == ""


WITHOUT = """
import sys
for name in ("rich", "jinja2", "matplotlib", "sklearn", "scipy"):
    sys.modules[name] = None
from thalweg import cli
assert cli.main(["list"]) == 0
assert cli.main(["explain", "adam"]) == 0
sys.exit(cli.main(["race", "digits"]))
"""


def test_without_the_lab_one_line_says_what_to_install(tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT],
        capture_output=True, text=True, timeout=60, cwd=tmp_path, check=False,
    )  # fmt: skip
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "pip install 'thalweg[lab]'" in done.stderr
    assert not list(tmp_path.iterdir())


@pytest.fixture
def stand_in(monkeypatch):
    """Have trials run by a stand-in; whoever is in ``failing`` fails with those words."""
    failing = {}

    def run(trials, workers, sources):
        del workers, sources
        for t in trials:
            error = next((words for name, words in failing.items() if name in t.algorithm), "")
            yield t, Outcome(1.0, 1.0, 1, 0.1, False, error, (2.0, 1.0), (2.0, 1.0))

    monkeypatch.setattr(import_module("thalweg.lab.race"), "run", run)
    return failing


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "cp1252"])
def test_letters_that_an_encoding_lacks_cost_nothing_but_themselves(
    encoding, stand_in, tmp_path, monkeypatch
):
    stand_in["adam"] = "ValueError: 中"
    out = io.TextIOWrapper(io.BytesIO(), encoding=encoding)
    monkeypatch.setattr(sys, "stdout", out)
    assert cli.main([*SMALL, "--seeds", "2", "--out", str(tmp_path)]) == 1
    said = out.buffer.getvalue().decode(encoding)
    assert ("1 ± 0" if encoding != "ascii" else "1 ? 0") in said
    assert "ValueError: ?" in said
    assert f"Report: {tmp_path}/report.html" in said


HOSTILE = "[/data/x.csv] [bold red]x[/] :bug: \\1 <b> \x1b[2J"


def test_errors_are_shown_as_they_are(stand_in, tmp_path, capsys):
    stand_in["adam"] = described(OSError(HOSTILE), [])
    assert cli.main([*SMALL, "--out", str(tmp_path)]) == 1
    out = capsys.readouterr().out
    assert r"OSError: [/data/x.csv] [bold red]x[/] :bug: \1 <b> \x1b[2J)" in out
    assert "\x1b" not in out
    stand_in["sgd"] = stand_in["adam"]
    assert cli.main([*SMALL, "--out", str(tmp_path / "none")]) == 2
    error = capsys.readouterr().err
    assert r"[/data/x.csv] [bold red]x[/] :bug: \1 <b> \x1b[2J" in error
    assert error.count("\n") == 1


@pytest.mark.parametrize("name", ["half a pair \udcff", "[/x] two\nlines", '"><img src=x>'])
def test_folders_may_have_any_name(name, stand_in, tmp_path, capsys):
    del stand_in
    folder = tmp_path / name
    folder.mkdir(parents=True)
    (folder / "own.py").write_text("from thalweg.optim import SGD as Own")
    own = f"sgd,{folder}/own.py:Own"
    assert cli.main([*SMALL, "--optimizers", own, "--out", str(folder)]) == 0
    assert (folder / "report.html").exists()
    assert "Own" in capsys.readouterr().out


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no full disk to write to")
@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_what_cannot_be_printed_is_no_reason_to_lose_a_race(unbuffered, tmp_path):
    command = f"{' '.join(thalweg(*SMALL, '--out', tmp_path))} > /dev/full"
    done = subprocess.run(
        command, shell=True, capture_output=True, text=True, timeout=300, check=False,
        env={**os.environ, "PYTHONUNBUFFERED": unbuffered},
    )  # fmt: skip
    assert done.returncode == 2
    assert done.stderr == "thalweg: cannot write to standard output: No space left on device\n"
    assert (tmp_path / "report.html").exists()


@pytest.mark.parametrize("redirection", ["| head -1", "2>&1 | true", ">&-", ">&- 2>&- <&-"])
def test_a_race_nobody_listens_to_has_its_report(redirection, tmp_path):
    (tmp_path / "own.py").write_text(PRINTS)
    small = [f"sgd,{tmp_path}/own.py:Own", "--seeds", "1", "--rates", "1", "--out", tmp_path]
    command = " ".join(thalweg("race", "least-squares", "--optimizers", *small))
    done = subprocess.run(
        f"set -o pipefail; {command} {redirection}", shell=True, executable="/bin/bash",
        capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert done.returncode == 0
    assert "Error" not in done.stderr
    assert (tmp_path / "report.html").exists()


PRINTS = """
import sys
from thalweg.optim import SGD

class Own(SGD):
    def step(self, closure=None):
        print("a word", flush=True)
        print("a word", file=sys.stderr, flush=True)
        return super().step(closure)
"""


@pytest.mark.parametrize(
    ("arguments", "text", "said"),
    [
        (["race", "digits", "--optimizers"], "import sys; sys.exit()", "cannot be run: SystemExit"),
        (["figure", "contours", "--optimizers"], "raise SystemExit(0)", "cannot be run: SystemE"),
        (["explain"], "def", "cannot be run: SyntaxError: "),
        (["bench", "--optimizers"], "import nonsense", "cannot be run: ModuleNotFoundError: "),
        (["race", "digits", "--schedule"], "def Own(n): exit(0)", "Own in own.py cannot be used"),
    ],
)
def test_a_file_that_cannot_serve_is_a_mistake(
    arguments, text, said, tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "own.py").write_text(text)
    assert cli.main([*arguments, "own.py:Own"]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.count("\n") == 1
    assert said in captured.err


def spoilt(**changes):
    def change(outcome):
        return json.dumps({**json.loads(outcome), **changes})

    return change


@pytest.mark.parametrize(
    "spoil",
    [
        spoilt(validation="97.5"),
        spoilt(test=None),
        spoilt(steps=1.5),
        spoilt(diverged="no"),
        spoilt(error=None),
        spoilt(train_curve=3),
        spoilt(train_curve="12"),
        spoilt(validation_curve=[]),
        spoilt(validation=float("nan")),
        spoilt(validation=10**400),
        spoilt(more=1),
        lambda outcome: "[" * 100_000,
        lambda outcome: "[]",
        lambda outcome: 7,
        lambda outcome: b"\xff",
    ],
)
def test_a_damaged_row_is_one_line_and_nothing_is_overwritten(spoil, stand_in, tmp_path, capsys):
    del stand_in
    assert cli.main([*SMALL, "--out", str(tmp_path)]) == 0
    with closing(sqlite3.connect(tmp_path / "race.sqlite")) as db:
        [key, outcome] = db.execute("SELECT key, outcome FROM trials").fetchone()
        db.execute("UPDATE trials SET outcome = ? WHERE key = ?", (spoil(outcome), key))
        db.commit()
    before = (tmp_path / "race.sqlite").read_bytes()
    capsys.readouterr()
    assert cli.main([*SMALL, "--out", str(tmp_path)]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert "race.sqlite is damaged: move it away" in error
    assert (tmp_path / "race.sqlite").read_bytes() == before


def test_a_formula_and_a_folder_may_begin_with_a_minus(stand_in, tmp_path, monkeypatch, capsys):
    del stand_in
    monkeypatch.chdir(tmp_path)
    formula = ["figure", "surface", "--landscape", "-x^2-y^2", "--steps", "2", "--out", "x.png"]
    assert cli.main(formula) == 0
    assert cli.main([*SMALL, "--out=-runs"]) == 0
    assert "--out=-runs" in Path("-runs", "report.html").read_text()
    assert cli.main(["figure", "surface", "--landscape", "--out", "x.png"]) == 2
    assert "expected one argument" in capsys.readouterr().err


def test_names_are_there_on_a_narrow_terminal(stand_in, tmp_path, monkeypatch, capsys):
    del stand_in
    monkeypatch.setenv("COLUMNS", "40")
    assert cli.main([*SMALL, "--out", str(tmp_path)]) == 0
    table = capsys.readouterr().out.partition("\n\n")[2]
    assert "● SGD" in table


@pytest.mark.parametrize("words", ["lr (float): how far.", "all of SGD's.\n    lr: how far."])
def test_a_docstring_of_another_style_is_explained_as_far_as_it_goes(words, tmp_path, capsys):
    doc = f"class Own(SGD):\n  '''Own.\n\n  Args:\n    {words}\n  '''"
    (tmp_path / "own.py").write_text(f"from thalweg.optim import SGD\n{doc}")
    assert cli.main(["explain", f"{tmp_path}/own.py:Own"]) == 0
    assert "how far." in capsys.readouterr().out


@pytest.mark.parametrize("what", ['raise RuntimeError("two\\nlines")', "raise SystemExit(5)"])
@pytest.mark.parametrize(
    "command", [["figure", "contours", "--steps", "2"], ["bench", "--models", "mlp"]]
)
def test_an_optimizer_that_raises_is_a_mistake(command, what, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    text = f"from thalweg.optim import SGD\nclass Own(SGD):\n def step(self, _=None):\n  {what}"
    (tmp_path / "own.py").write_text(text)
    assert cli.main([*command, "--optimizers", "own.py:Own"]) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert said.endswith(" (own.py, line 4)\n")
