"""A reader's own rule has what the built-in ones have: engines, options, checkpoints, the race."""

from __future__ import annotations

import gc
import textwrap
import weakref

import pytest
import torch

from optim.table import ENGINES
from optim.training import gradients, step, tensors
from thalweg import cli, lab, optim
from thalweg.optim.registry import find
from thalweg.rule import rule


@rule(state=("s",))
def rootless(g, s, *, eps=1e-8, doubled=False):
    """Adagrad without its root."""
    s = s + g * g
    return (2 * g if doubled else g) / (s + eps), {"s": s}


Rootless = optim.from_rule(rootless, lr=0.1)


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize(
    "options", [{}, {"eps": 1e-3, "weight_decay": 0.1}, {"doubled": True, "maximize": True}]
)
def test_it_steps_as_written(engine, options):
    (p,) = tensors(shapes=((7,),))
    o = Rootless([p], engine=engine, **options)
    w, s = p.detach().clone(), torch.zeros(7, dtype=torch.float64)
    for (g,) in gradients(10, shapes=((7,),)):
        step(o, [g.clone()])
        g = -g if "maximize" in options else g
        g = g + options.get("weight_decay", 0) * w
        s += g * g
        w -= 0.1 * (2 if "doubled" in options else 1) * g / (s + options.get("eps", 1e-8))
    torch.testing.assert_close(p.detach(), w, rtol=1e-12, atol=1e-13)
    torch.testing.assert_close(o.state[p]["s"], s, rtol=1e-12, atol=0)


def test_it_is_fused_and_formula_and_checkpoint_follow():
    from thalweg.engines.fused import FusedBatch
    from thalweg.rule.formula import text

    (p,) = tensors(shapes=((50_000,),))
    o = Rootless([p], max_grad_norm=1.0)
    step(o, [torch.ones_like(p)])
    assert isinstance(o.batches[0], FusedBatch)
    assert "s ← s + g²" in str(text(Rootless.rule, o.hyperparameters(o.param_groups[0])))
    again = Rootless(tensors(shapes=((50_000,),)))
    again.load_state_dict(o.state_dict())
    assert again.param_groups[0]["max_grad_norm"] == 1.0


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: optim.from_rule(rootless, beta=1), "'beta' is not an argument"),
        (lambda: optim.from_rule(rootless, eps="x"), "eps must be a number, not 'x'"),
        (lambda: Rootless(tensors(), epz=1), "no option 'epz'; did you mean 'eps'"),
        (lambda: Rootless(tensors(), eps=None), "eps must be a number, not None"),
        (lambda: Rootless(tensors(), eps=float("nan")), "eps must be finite, not nan"),
        (lambda: Rootless(tensors(), doubled=1), "doubled must be one of False, True, not 1"),
    ],
)
def test_mistakes_are_named(make, said):
    with pytest.raises((TypeError, ValueError), match=said):
        make()


def spelt_in_torch(g, s):
    return g / torch.sqrt(s), {"s": s}


def without_state(g, s):
    return s


@pytest.mark.parametrize("function", [spelt_in_torch, without_state], ids=lambda f: f.__name__)
def test_a_rule_that_is_none_is_refused_before_it_steps(function):
    with pytest.raises(TypeError, match=f"from_rule.{function.__name__}.: .*words of thalweg.rule"):
        optim.from_rule(rule(state=("s",))(function))


def test_a_function_is_no_rule_yet():
    with pytest.raises(TypeError, match="from_rule takes a rule, not <function"):
        optim.from_rule(spelt_in_torch)
    with pytest.raises(TypeError, match="with parentheses"):
        rule(spelt_in_torch)


def test_what_has_no_default_is_asked_for():
    @rule()
    def scaled(g, *, factor):
        return factor * g, {}

    with pytest.raises(TypeError, match="'factor' has no default"):
        optim.from_rule(scaled)
    assert optim.from_rule(scaled, factor=2.0).__name__ == "scaled"


FILE = textwrap.dedent("""
    from thalweg import optim
    from thalweg.rule import rule

    @rule(state=("s",))
    def mine(g, s, *, eps=1e-8):
        s = s + g * g
        return g / (s + eps), {"s": s}

    Mine = optim.from_rule(mine, lr=0.1)
    number = 3
""")


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "my_rules.py"
    path.write_text(FILE)
    return path


def test_a_file_races_and_a_changed_file_is_another_contender(file, tmp_path, capsys):
    arguments = ["race", "least-squares", "--rates", "1", "--seeds", "2", "--out", str(tmp_path)]
    arguments += ["--optimizers", f"sgd,{file}:Mine"]
    assert cli.main(arguments) == 0
    assert "Mine" in capsys.readouterr().out
    file.write_text(FILE.replace("s + g * g", "s + 2 * g * g"))
    assert cli.main(arguments) == 0
    assert "2 of 4 trainings were already there" in capsys.readouterr().out


def test_a_rule_in_a_file_will_do(file):
    assert find(f"{file}:mine").lr == 1e-3
    assert find(f"{file}:Mine").lr == 0.1


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("my_rules.py:Other", "no 'Other' in"),
        ("my_rules.py:number", "neither a rule nor a thalweg optimizer"),
        ("absent.py:Mine", "cannot read .*absent.py: No such file"),
        ("broken.py:Mine", "cannot be run: ZeroDivisionError"),
    ],
)
def test_a_file_that_cannot_serve_says_why(file, name, said):
    file.with_name("broken.py").write_text("1 / 0")
    with pytest.raises(ValueError, match=said):
        lab.plan("digits", [str(file.with_name(name.split(":")[0])) + ":" + name.split(":")[1]])


def test_a_rule_that_is_gone_leaves_nothing_behind():
    def made():
        @rule(state=("s",))
        def gone(g, s, *, eps=1e-8):
            s = s + g * g
            return g / (s + eps), {"s": s}

        p = torch.ones(3, requires_grad=True)
        o = optim.from_rule(gone)([p])
        p.grad = torch.ones(3)
        o.step()
        return weakref.ref(gone), weakref.ref(type(o)), weakref.ref(type(o).rule)

    left = made()
    gc.collect()
    assert [r() for r in left] == [None, None, None]
