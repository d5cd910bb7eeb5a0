"""``thalweg explain`` and ``thalweg list`` know the schedules."""

from __future__ import annotations

import inspect
import re

import pytest

from thalweg import cli
from thalweg.optim.registry import ALGORITHMS
from thalweg.schedules import SCHEDULES


@pytest.mark.parametrize("name", SCHEDULES)
def test_every_part_is_there(name, capsys):
    assert cli.main(["explain", name]) == 0
    out = capsys.readouterr().out
    entry = SCHEDULES[name]
    for argument, p in inspect.signature(entry.make).parameters.items():
        default = "" if p.default is p.empty else f" = {p.default!r}"
        assert re.search(rf"^    {argument}{re.escape(default)}\n        \S", out, re.MULTILINE)
    assert out.startswith(f"{name}\n{'=' * len(name)}\n")
    if entry.example:
        assert f"\n{entry.make(*entry.example)!r}\n" in out
        assert out.count("│") == 8
        assert "\nIn torch\n" in out
    assert max(map(len, out.splitlines())) <= 100
    assert "``" not in out


@pytest.mark.parametrize("name", SCHEDULES)
def test_the_formula_as_latex(name, capsys):
    assert cli.main(["explain", "--latex", name]) == 0
    latex = capsys.readouterr().out
    assert latex.count("{") == latex.count("}")
    assert latex.count(r"\left") - latex.count(r"\left|") == latex.count(r"\right") - latex.count(
        r"\right|"
    )
    assert latex.startswith(("s(t) = ", r"\alpha \gets"))


def test_cosine_as_it_is_printed(capsys):
    cli.main(["explain", "cosine"])
    out = capsys.readouterr().out
    for words in (
        "    value(t) = end + (start - end) (1 + cos(pi t / steps)) / 2\n",
        "    1 │⠉⠉⠉⠉⠉⠒⠒⠒⠢⠤⠤⣀⣀\n",
        "    end = 0.0\n        value at step steps, finite",
        "CosineAnnealingLR(T_max=steps",
        "arXiv:1608.03983",
    ):
        assert words in out


@pytest.mark.parametrize(
    ("name", "near"),
    [("cosin", "cosine"), ("warm-restart", "warm_restarts"), ("multistep", "multi_step"),
     ("adamv", "adam"), ("platau", "plateau")],
)  # fmt: skip
def test_an_unknown_name_suggests_a_near_one(name, near, capsys):
    assert cli.main(["explain", name]) == 2
    error = capsys.readouterr().err
    assert f"no optimizer or schedule {name!r}; did you mean '{near}" in error
    assert error.count("\n") == 1


@pytest.mark.parametrize(
    ("name", "meant"),
    [("one-cycle", "one_cycle"), ("Warm-Restarts", "warm_restarts"), ("COSINE", "cosine"),
     ("schedule_free_SGD", "schedule-free-sgd")],
)  # fmt: skip
def test_hyphens_underscores_and_capitals_are_as_good(name, meant, capsys):
    said = [(cli.main(["explain", n]), capsys.readouterr().out) for n in (name, meant)]
    assert said[0] == said[1]
    assert said[0][0] == 0


def test_no_name_means_two_things():
    names = [n.replace("-", "_") for n in (*SCHEDULES, *ALGORITHMS)]
    assert len({*names}) == len(names)


def test_list_has_a_line_for_each(capsys):
    assert cli.main(["list"]) == 0
    out = capsys.readouterr().out
    for name, entry in SCHEDULES.items():
        [line, *_] = [x for x in out.splitlines() if x.startswith(f"  {name} ")]
        assert line.endswith(entry.summary)
        assert len(line) <= 100
