"""The graph of a rule: what it needs, how it is cut into passes, what it refuses."""

from __future__ import annotations

import pytest

from thalweg.optim.registry import ALGORITHMS
from thalweg.optim.sgd import SGD
from thalweg.rule import clip_global_norm, mean, norm, rule, sqrt, total, where

H = {"lr": 0.1, "beta": 0.9, "max_grad_norm": 1.0}
FOUR = {"w": 4, "g": 4, "m": 4, "v": 4, "n": 4}.__getitem__


@rule(state=("m", "v"))
def moments(g, m, v, *, beta):
    m = beta * m + (1 - beta) * g
    v = beta * v + (1 - beta) * g * g
    return m / sqrt(v), {"m": m, "v": v}


def test_one_pass_reads_and_writes_each_array_once():
    graph = moments.trace(H)
    assert graph.tensors == ("w", "g", "m", "v")
    assert len(graph.passes) == 1
    assert graph.bytes_moved(FOUR) == 28  # 4 loads, 3 stores


def test_clipping_costs_one_more_read_of_the_gradient():
    graph = clip_global_norm(moments).trace(H)
    assert len(graph.passes) == 2
    assert graph.passes[0].loads == ("g",)
    assert graph.bytes_moved(FOUR) == 32


def test_no_clipping_leaves_no_trace():
    h = {**H, "max_grad_norm": None}
    assert clip_global_norm(moments).trace(h).bytes_moved(FOUR) == 28


def test_state_is_stored_early_where_that_moves_fewer_bytes():
    @rule(state=("m", "v"))
    def trust(w, g, m, v, *, beta):
        m = beta * m + (1 - beta) * g
        v = beta * v + (1 - beta) * g * g
        u = m / sqrt(v)
        return u * (norm(w) / norm(u)), {"m": m, "v": v}

    graph = trust.trace(H)
    first, second = graph.passes
    assert set(first.stores) == {"m", "v"}
    assert set(second.loads) == {"w", "m", "v"}  # not the gradient
    assert graph.bytes_moved(FOUR) == 4 * (4 + 2 + 3 + 1)


def test_state_that_a_later_pass_needs_in_its_old_form_is_stored_last():
    @rule(state=("m",))
    def late(g, m, *, beta):
        new = m + g
        return m * total(new), {"m": new}

    first, second = late.trace(H).passes
    assert first.stores == {}
    assert set(second.stores) == {"w", "m"}


def test_an_unchanged_state_is_not_written():
    @rule(state=("x0",))
    def anchored(w, g, x0):
        return g + w - x0, {"x0": x0}

    (only,) = anchored.trace(H).passes
    assert set(only.loads) == {"w", "g", "x0"}
    assert set(only.stores) == {"w"}


def test_options_decide_which_state_is_needed():
    base = {"lr": 0.1, "momentum": 0.0, "dampening": 0.0, "weight_decay": 0.0, "nesterov": False,
            "convention": "torch", "maximize": False, "cautious": False,
            "max_grad_norm": None, "bounds_low": None, "bounds_high": None}  # fmt: skip
    assert SGD.rule.trace(base).states == ()
    assert SGD.rule.trace({**base, "momentum": 0.9}).states == ("z",)


def test_a_rate_that_passes_through_zero_is_the_same_graph():
    assert moments.trace(H) is moments.trace({**H, "lr": 0.0})


def test_if_may_not_test_a_tensor_or_a_computed_value():
    @rule(state=())
    def bad(g, *, beta):
        return (g if g > 0 else -g), {}

    @rule(state=())
    def worse(g, *, beta, step):
        return (g if step > 3 else -g), {}

    for r in (bad, worse):
        with pytest.raises(TypeError, match="where"):
            r.trace(H)


def test_state_must_be_given_back_and_declared():
    @rule(state=("m",))
    def forgets(g, m):
        return g + m, {}

    with pytest.raises(ValueError, match="'m'"):
        forgets.trace(H)

    @rule(state=())
    def invents(g):
        return g, {"n": g}

    with pytest.raises(ValueError, match="n"):
        invents.trace(H)


def test_a_hyperparameter_before_the_star_is_refused():
    with pytest.raises(ValueError, match="'beta'"):

        @rule(state=())
        def wrong(g, beta):
            return g * beta, {}

    with pytest.raises(ValueError, match="'m'"):

        @rule(state=("m",))
        def unused(g):
            return g, {}


def test_rules_compute_with_numbers_and_tensors_only():
    @rule(state=())
    def wrong(g):
        return g + "1", {}

    with pytest.raises(TypeError, match="'1'"):
        wrong.trace(H)


def test_reductions_of_scalars_are_refused():
    @rule(state=())
    def wrong(g, *, beta):
        return g * mean(beta), {}

    with pytest.raises(TypeError, match="beta"):
        wrong.trace(H)


def test_where_on_a_static_option_chooses_at_once():
    @rule(state=())
    def chosen(g, *, nesterov):
        return where(nesterov, g, -g), {}

    w = chosen.trace({**H, "nesterov": True}).outputs["w"]
    assert "neg" not in repr(w)


def test_registry_names_are_unique_and_typeable():
    assert all(name == a.name == a.name.lower() for name, a in ALGORITHMS.items())
    assert len({a.title for a in ALGORITHMS.values()}) == len(ALGORITHMS)
