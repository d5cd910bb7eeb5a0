"""Contenders from files: they run as they were planned, and disturb nobody but themselves."""

from __future__ import annotations

import os
import textwrap
import traceback
from dataclasses import replace

import pytest

from thalweg.lab import plan
from thalweg.lab.run import run
from thalweg.lab.source import Source, described
from thalweg.lab.trial import train
from thalweg.optim.registry import ALGORITHMS

RAISES = """
from thalweg.optim import SGD

class Own(SGD):
    def step(self, closure=None):
        raise RuntimeError("as planned")
"""


@pytest.fixture
def write(tmp_path):
    """Write own.py; returns its path as it would be typed."""

    def write(text):
        path = tmp_path / "own.py"
        path.write_text(textwrap.dedent(text))
        return str(path)

    return write


def test_a_file_that_is_edited_runs_as_it_was_planned(write):
    file = write(RAISES)
    p = plan("least-squares", f"{file}:Own", seeds=1, rates=1, epochs=1)
    write("\n\n" + RAISES.replace("as planned", "edited"))
    [(trial, outcome)] = run(p.trials(), 1, p.sources)
    assert outcome.error == f"RuntimeError: as planned ({file}, line 6)"
    with pytest.raises(ValueError, match=r"own.py has changed since the race was planned"):
        train(trial)
    again = plan("least-squares", f"{file}:Own", seeds=1, rates=1, epochs=1)
    assert again.trials()[0].key != trial.key


def test_contenders_of_one_file_are_of_one_version(write, monkeypatch):
    file = write(RAISES + "Other = Own\n")
    reads = []
    read = Source.read
    monkeypatch.setattr(Source, "read", lambda path: (reads.append(path), read(path))[1])
    plan("digits", [f"{file}:Own", f"{file}:Other"], schedules=["constant"])
    assert reads == [file]


def test_a_traceback_shows_the_line_that_ran(write):
    file = write("def half(steps):\n    return 1 / 0  # as planned\n")
    source = Source.read(file)
    write("# edited\n# edited\n")
    with pytest.raises(ZeroDivisionError) as e:
        source.get("half")(3)
    assert f'File "{file}", line 2, in half\n    return 1 / 0  # as planned' in "".join(
        traceback.format_exception(e.value)
    )
    assert described(e.value, [file]) == f"ZeroDivisionError: division by zero ({file}, line 2)"


MEDDLERS = """
import builtins, json, os, sys, threading, torch
from thalweg.optim import SGD

class Dtype(SGD):
    def step(self, closure=None):
        torch.set_default_dtype(torch.float64)
        return super().step(closure)

class Backward(SGD):
    def step(self, closure=None):
        torch.Tensor.backward = lambda self: None
        return super().step(closure)

class Fork(SGD):
    def step(self, closure=None):
        if not hasattr(self, "forked"):
            self.forked = os.fork()
        return super().step(closure)

class Prints(SGD):
    def step(self, closure=None):
        os.write(1, b'["garbage", {}]\\n')
        print('"garbage"', flush=True)
        return super().step(closure)

class Silent(SGD):
    def step(self, closure=None):
        builtins.print = json.dumps = json.loads = lambda *args, **options: None
        return super().step(closure)

class Bytes(SGD):
    def step(self, closure=None):
        for pipe in range(3, 20):
            try:
                os.write(pipe, b'\\xff\\n')
            except OSError:
                pass
        return super().step(closure)

class Asks(SGD):
    def step(self, closure=None):
        assert sys.stdin.read() == ""
        breakpoint()

class Exits(SGD):
    def step(self, closure=None):
        sys.exit()

class Dies(SGD):
    def step(self, closure=None):
        os._exit(0)
"""


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_what_a_contender_does_to_its_process_changes_nobody_elses_numbers(write, monkeypatch):
    monkeypatch.delenv("PYTHONWARNINGS", raising=False)
    file = write(MEDDLERS)
    names = ["Dtype", "Backward", "Fork", "Prints", "Silent", "Bytes", "Asks", "Exits", "Dies"]
    small = {"seeds": 1, "rates": 1, "epochs": 2}
    p = plan("least-squares", ["sgd", *(f"{file}:{n}" for n in names), "momentum"], **small)
    found = dict(run(p.trials(), 1, p.sources))
    assert len(found) == len(p.trials())
    of = {t.algorithm.rpartition(":")[2].partition("#")[0]: o for t, o in found.items()}

    def same(outcome, trial):
        return replace(outcome, seconds=0.0) == replace(train(trial), seconds=0.0)

    sgd, momentum = (t for t in found if not t.guest)
    assert same(of["sgd"], sgd)
    assert same(of["momentum"], momentum)
    for harmless in ("Fork", "Prints", "Silent"):
        assert replace(of[harmless], seconds=0.0) == replace(
            train(replace(sgd, rate=0.001)), seconds=0.0
        )
    no_answer = "its process gave no answer but a line of its own, 2 times"
    assert of["Bytes"].error == no_answer
    assert of["Asks"].error.startswith("BdbQuit")
    assert of["Exits"].error.startswith("SystemExit (")
    assert of["Dies"].error == "its process ended with code 0, 2 times"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("class Own(SGD):\n def __init__(self, params, lr=0.0): super().__init__(params, lr)",
         "must have a default for lr that is finite and above 0, .*; it has 0.0"),
        ("class Own(SGD):\n def __init__(self, params, lr=None):\n"
         "  super().__init__(params, 0.1); self.param_groups[0].pop('lr')", "it has None"),
        ("class Own(SGD):\n def __init__(self, params): super().__init__(params, 0.1)",
         r"cannot be built from parameters and lr alone: TypeError: .*unexpected.* 'lr'"),
        ("class Own(SGD):\n def __init__(self, params, lr, damping): super().__init__(params, lr)",
         "cannot be built from parameters and lr alone: TypeError: .*'damping'"),
        ("class Own(SGD):\n def __init__(self, params, lr=0.1): raise RuntimeError('[/x]')",
         r"alone: RuntimeError: \[/x\] \(.*own.py, line 3\)"),
        ("class Own(SGD):\n def __init__(self, params, lr=0.1): import sys; sys.exit()",
         r"alone: SystemExit \(.*own.py, line 3\)"),
        ("class Own(SGD):\n def __init__(self, params, lr=1e300): super().__init__(params, lr)",
         "customary rate 1e.300, around which 99 rates are more than a float can hold"),
        ("import sys; sys.exit()", r"own.py cannot be run: SystemExit \(.*own.py, line 2\)"),
        ("raise ValueError('two\\nlines \\x1b[2J')", r"ValueError: two lines \\x1b\[2J \("),
        ("\0", "own.py cannot be run: (Syntax|Value)Error"),
        ("from thalweg.rule import rule\n@rule(state=())\ndef Own(g): 1 / 0",
         r"Own in .*own.py cannot be used: ZeroDivisionError: .* \(.*own.py, line 4\)"),
        ("Own = 3", "neither a rule nor a thalweg optimizer class"),
        ("Own = dict", "neither a rule nor a thalweg optimizer class"),
    ],
)  # fmt: skip
def test_a_class_that_cannot_race_is_refused_in_one_line(write, text, said):
    file = write("from thalweg.optim import SGD\n" + text)
    with pytest.raises(ValueError, match=said) as e:
        plan("digits", f"{file}:Own", rates=99)
    assert str(e.value).isprintable()


@pytest.mark.parametrize("name", ["Own>", "a b", "<img>", ""])
def test_a_name_that_is_none_is_refused(write, name):
    file = write("from thalweg.optim import SGD\nglobals()['<img>'] = SGD")
    with pytest.raises(ValueError, match="must be a Python name"):
        plan("digits", f"{file}:{name}")


def test_paths_may_have_any_letter(write, tmp_path):
    file = tmp_path / 'a#b "><:.py:c' / "own.py"
    file.parent.mkdir()
    file.write_text(RAISES)
    [a] = plan("digits", [f"{file}:Own"]).algorithms
    assert a.name.startswith(f"{file}:Own#")


def test_contenders_of_one_name_are_told_apart(tmp_path):
    files = [tmp_path / place / name for place in "ab" for name in ("one.py", "t$w$o.py")]
    for file in files:
        file.parent.mkdir(exist_ok=True)
        file.write_text("from thalweg.optim import SGD\nAdam = Own = SGD")
    one, two, other, _ = files
    p = plan("digits", ["adam", f"{one}:Adam", f"{two}:Own"], schedules="cosine")
    assert [a.title for a in p.algorithms] == [
        "Adam (cosine)", "Adam (one.py) (cosine)", "Own (cosine)",
    ]  # fmt: skip
    assert [a.title for a in plan("digits", [f"{two}:Own", f"{one}:Own"]).algorithms] == [
        "Own (t_w_o.py)", "Own (one.py)",
    ]  # fmt: skip
    assert [a.title for a in plan("digits", [f"{one}:Own", f"{other}:Own"]).algorithms] == [
        f"Own ({one})", f"Own ({other})",
    ]  # fmt: skip


def test_a_file_that_goes_to_another_folder_takes_nobody_along(write, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    write("import os\nfrom thalweg.optim import SGD as Own\nos.chdir('/')")
    plan("digits", "own.py:Own")
    assert tmp_path.samefile(".")


MEDDLES_WHEN_READ = """
import os
from thalweg.lab import plan
from thalweg.optim import SGD as Own
from thalweg.optim.registry import ALGORITHMS
os.environ["ATEN_CPU_CAPABILITY"] = "default"  # other last bits in whatever inherits it
ALGORITHMS["sgd"] = ALGORITHMS["adam"]
plan.RATIO = 2.0
os.umask(0o777)
print('[[0.5, ""]]')
"""


def test_what_a_file_does_when_it_is_read_reaches_nobody_else(write):
    before = dict(os.environ)
    p = plan("digits", [f"{write(MEDDLES_WHEN_READ)}:Own", "sgd"], rates=3)
    assert dict(os.environ) == before
    own, sgd = p.algorithms
    assert sgd == ALGORITHMS["sgd"]
    assert sgd.name == "sgd"
    assert p.grid(own) == [0.000316228, 0.001, 0.00316228]
    mask = os.umask(0o022)
    os.umask(mask)
    assert mask != 0o777


def test_a_file_that_ends_its_process_is_refused_in_one_line(write):
    file = write("import os\nos._exit(0)")
    with pytest.raises(ValueError, match=r"own.py cannot be run: its process ended with code 0"):
        plan("digits", f"{file}:Own")


LEAVES_BEHIND = """
import random
import numpy
import torch
from thalweg.optim import SGD

class Dtype(SGD):
    def step(self, closure=None):
        loss = super().step(closure)
        torch.set_default_dtype(torch.float64)
        return loss

class Noisy(SGD):
    def step(self, closure=None):
        loss = super().step(closure)
        with torch.no_grad():
            for p in self.param_groups[0]["params"]:
                p += 1e-3 * (random.random() + numpy.random.rand() + torch.rand(()))
        return loss

class Counts(SGD):
    def step(self, closure=None):
        SGD.steps = getattr(SGD, "steps", 0) + 1
        self.param_groups[0]["lr"] /= SGD.steps
        return super().step(closure)

torch.set_default_dtype(torch.float64)
"""


@pytest.mark.parametrize("name", ["Dtype", "Noisy", "Counts"])
def test_the_same_numbers_whatever_ran_before(write, name):
    p = plan("digits", f"{write(LEAVES_BEHIND)}:{name}", seeds=2, rates=1, epochs=1)

    def ran(trials):
        return {t: replace(o, seconds=0.0) for t, o in run(trials, 1, p.sources)}

    one, two = p.trials()
    found = ran([one, two])
    assert not any(o.error for o in found.values())
    assert found[one] != found[two]
    assert ran([two]) == {two: found[two]}


def test_a_file_that_finds_the_pipe_is_refused_in_one_line(write):
    file = write("import os\nfor pipe in range(3, 9):\n try: os.write(pipe, b'\\xff\\n')\n"
                 " except OSError: pass")  # fmt: skip
    said = r"own.py cannot be run: its process gave no answer but a line of its own"
    with pytest.raises(ValueError, match=said):
        plan("digits", f"{file}:Own")


def test_schedules_of_one_name_are_told_apart(tmp_path):
    files = [tmp_path / name for name in ("a b.py", "a_b.py", "a-b.py")]
    for file in files:
        file.write_text(
            "from thalweg.optim import SGD as Own\nfrom thalweg.schedules import constant\n"
            "def warm(n): return constant()"
        )
    p = plan("digits", "sgd", schedules=["constant", *(f"{file}:warm" for file in files)])
    assert len({a.title for a in p.algorithms}) == 4
    assert p.algorithms[3].title == "SGD (warm (a-b.py))"
    owns = [f"{file}:Own" for file in files]
    assert len({a.title for a in plan("digits", owns).algorithms}) == 3
