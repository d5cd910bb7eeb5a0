"""An option stands in one place: what follows from there."""

from __future__ import annotations

import inspect
import re

import pytest
import torch

from thalweg import optim
from thalweg.optim.declared import choice, option
from thalweg.optim.optimizer import RuleOptimizer
from thalweg.report.docstring import arguments, sections
from thalweg.validation import NON_NEGATIVE

CLASSES = [
    x
    for x in vars(optim).values()
    if isinstance(x, type) and issubclass(x, RuleOptimizer) and x is not optim.SAM
]


def params():
    return [torch.ones(2, 2, requires_grad=True)]


@pytest.mark.parametrize("cls", CLASSES)
def test_help_shows_every_option_with_its_default(cls):
    shown = arguments(sections(inspect.getdoc(cls)).get("Args", ""))
    taken = inspect.signature(cls).parameters
    assert [*shown] == [*taken]
    assert all(len(meaning) > 10 for meaning in shown.values())
    doc = inspect.getdoc(cls)
    for name, p in list(taken.items())[1:]:
        assert re.search(
            rf"^    {name} \(default {re.escape(repr(p.default))}[;)]", doc, re.MULTILINE
        ), name
    assert {*taken} >= {"engine", "max_grad_norm", "state_dtype", "lr"}


@pytest.mark.parametrize("cls", CLASSES)
def test_a_group_has_the_defaults(cls):
    o = cls(params())
    for name, p in list(inspect.signature(cls).parameters.items())[1:]:
        if cls.options[name].grouped:
            assert o.param_groups[0][name] == o.defaults[name] == p.default
        else:
            assert name not in o.param_groups[0]
    assert not hasattr(o, "lr")  # the groups have it


def test_options_are_inherited_where_they_stand_and_declared_again():
    class Mine(optim.SGD):
        """Mine.

        State: none.
        """

        momentum: float = option(default=0.5, domain=NON_NEGATIVE, doc="half of it.")
        twice: bool = choice(default=False, doc="go on.", kw_only=True)

    names = [*inspect.signature(Mine).parameters]
    assert names[:3] == ["params", "lr", "momentum"]
    assert names.index("convention") < names.index("twice") < names.index("maximize")
    assert Mine(params()).param_groups[0]["momentum"] == 0.5
    assert Mine(params(), 0.1, 0.7).param_groups[0]["momentum"] == 0.7
    assert optim.SGD(params()).param_groups[0]["momentum"] == 0.0
    assert "momentum (default 0.5; finite and at least 0): half of it." in Mine.__doc__
    assert Mine.__doc__.endswith("State: none.")


def test_a_constructor_of_ones_own_is_the_signature():
    class Mine(optim.AdamW):
        def __init__(self, params, rate=0.5):
            super().__init__(params, rate, eps=1e-4)

    assert [*inspect.signature(Mine).parameters] == ["params", "rate"]
    assert Mine(params()).param_groups[0]["lr"] == 0.5
    assert Mine(params()).param_groups[0]["eps"] == 1e-4

    class Heir(Mine):
        """Inherits the constructor, not what AdamW takes."""

    assert inspect.signature(Heir) == inspect.signature(Mine)
    assert Heir.__doc__ == "Inherits the constructor, not what AdamW takes."
    assert [*inspect.signature(type("Wider", (optim.SAM,), {})).parameters][1] == "base_optimizer"


@pytest.mark.parametrize("name", ["domains", "flags", "parts", "options"])
def test_what_follows_from_the_declarations_cannot_be_set(name):
    with pytest.raises(TypeError, match=rf"Mine.{name} follows from option"):
        type("Mine", (optim.SGD,), {name: {}})


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda: optim.AdamW(), "params"),
        (lambda: optim.AdamW(params(), rate=1), "AdamW has no option 'rate'; did you mean 'lr'"),
        (lambda: optim.AdamW(params(), learning_rate=1), "did you mean 'lr'"),
        (lambda: optim.AdamW(params(), wd=1), "did you mean 'weight_decay'"),
        (lambda: optim.AdamW(params(), weight_deca=1), "did you mean 'weight_decay'"),
        (lambda: optim.AdamW(params(), decoupled_weight_decay=False), "has no option"),
        (lambda: optim.AdamW(params(), 0.1, lr=0.2), "AdamW is given 'lr' twice"),
        (lambda: optim.AdamW(params(), *[0.1] * 6), "at most 5 options without their names, not 6"),
    ],
)
def test_wrong_calls_are_refused(call, says):
    with pytest.raises(TypeError, match=says):
        call()
