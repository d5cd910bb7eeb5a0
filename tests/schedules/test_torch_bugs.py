"""What goes wrong where torch composes schedulers, and that it does not here.

Each bug is shown on the installed torch as well, so that the list stays true: once torch mends one,
its test fails here, and its half on torch can go. Numbers are those of pytorch's issues.
"""

from __future__ import annotations

import copy
import json
import pickle

import pytest
import torch
from torch.optim import lr_scheduler as torchs

from thalweg.schedules import constant, cosine, cyclic, exponential, linear, multi_step, one_cycle
from thalweg.schedules import one_cycle_momentum as cycled
from thalweg.schedules.attach import attach


def sgd(lr=1.0):
    return torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=lr, momentum=0.9)


def walk(scheduler, steps, name="lr"):
    """A hyperparameter of the first group at each step."""
    optimizer = scheduler.optimizer
    seen = [optimizer.param_groups[0][name]]
    for _ in range(steps):
        optimizer.step()
        scheduler.step()
        seen.append(optimizer.param_groups[0][name])
    return pytest.approx(seen, rel=1e-12)


# ---- sequences: on construction


def in_sequence(milestones, *pieces):
    optimizer = sgd()
    return torchs.SequentialLR(optimizer, [p(optimizer) for p in pieces], milestones)


def test_a_later_piece_changes_nothing_before_its_turn():
    """Made after the first piece, it sets rate and momentum at once (72874, mended for pieces that
    do not set ``initial_lr`` or momentum)."""
    want = [0.1, 0.55, *(one_cycle(6)(n) for n in range(6))]
    theirs = in_sequence(
        [2],
        lambda o: torchs.LinearLR(o, 0.1, total_iters=2),
        lambda o: torchs.OneCycleLR(o, 1.0, total_steps=6),
    )
    assert theirs.optimizer.param_groups[0]["momentum"] == 0.95
    assert walk(theirs, 7) != want
    ours = attach(
        sgd(),
        linear(0.1, 1, 2).then(one_cycle(6)),
        momentum=constant(0.9, 2).then(cycled(6)),
    )
    assert ours.optimizer.param_groups[0]["momentum"] == 0.9
    assert walk(ours, 7) == want


def test_the_first_rate_is_the_first_piece_s():
    """72874 and 82684, both mended."""
    want = [0.5, 0.5, 0.5, 0.3, 0.3, 0.3]
    both = in_sequence(
        [3], lambda o: torchs.ConstantLR(o, 0.5, 3), lambda o: torchs.ConstantLR(o, 0.3, 4)
    )
    assert walk(both, 5) == want
    assert walk(attach(sgd(), constant(0.5, 3).then(constant(0.3))), 5) == want


# ---- sequences: at the switch


def test_the_second_piece_starts_from_its_own_rate():
    """A piece without a closed form goes on from where the first has left the rate (67586, mended
    for those with one)."""
    want = [0.1, 0.1, 1.0, 0.5, 0.25]
    theirs = in_sequence(
        [2],
        lambda o: torchs.ConstantLR(o, 0.1, 9),
        lambda o: torchs.MultiplicativeLR(o, lambda n: 0.5),
    )
    assert walk(theirs, 4) == [0.1, 0.1, 0.05, 0.025, 0.0125]
    halving = multi_step([1, 2, 3, 4], 0.5)
    assert walk(attach(sgd(), constant(0.1, 2).then(halving)), 4) == want


def test_the_second_piece_starts_at_its_own_step_zero():
    """67586, mended where the piece has a closed form."""
    want = [0.1, 0.4, 0.7, 1.0, cosine(4)(1), 0.5]
    both = in_sequence(
        [3],
        lambda o: torchs.LinearLR(o, 0.1, total_iters=3),
        lambda o: torchs.CosineAnnealingLR(o, 4),
    )
    assert walk(both, 5) == want
    assert walk(attach(sgd(), linear(0.1, 1, 3).then(cosine(4))), 5) == want


def test_a_sequence_may_be_a_piece_of_a_sequence():
    want = [0.1, 1.0, 1.0, 0.5, 0.5]

    def inner(o):
        pieces = [torchs.ConstantLR(o, 1.0, 9), torchs.ConstantLR(o, 0.5, 9)]
        return torchs.SequentialLR(o, pieces, [2])

    theirs = in_sequence([1], lambda o: torchs.ConstantLR(o, 0.1, 9), inner)
    with pytest.raises(NotImplementedError):
        walk(theirs, 4)
    whole = constant(0.1, 1).then(constant(1.0, 2).then(constant(0.5)))
    assert walk(attach(sgd(), whole), 4) == want


# ---- resuming


def torchs_warm(o, **how):
    pieces = [torchs.ConstantLR(o, 0.1, 20), torchs.ExponentialLR(o, 0.9)]
    return torchs.SequentialLR(o, pieces, [3], **how)


WARM = constant(0.1, 3).then(exponential(gamma=0.9))
WHOLE = [0.1, 0.1, 0.1, 1.0, 0.9, 0.81, 0.729, 0.6561]


def test_starting_at_a_step_is_being_there():
    """162591."""
    assert walk(torchs_warm(sgd()), 7) == WHOLE
    assert walk(torchs_warm(sgd(), last_epoch=4), 3) != WHOLE[4:]
    ours = attach(sgd(), WARM)
    ours.jump(4)
    assert walk(ours, 3) == WHOLE[4:]


@pytest.mark.parametrize("optimizer_first", [True, False])
def test_resuming_does_not_depend_on_the_order(optimizer_first):
    """119168, 65342: made after the optimizer has loaded its state, torch's set the rate back to
    the start's, and what they load does not mend it."""

    def resumed(make):
        first = make(sgd())
        walk(first, 5)
        saved = copy.deepcopy((first.optimizer.state_dict(), first.state_dict()))
        optimizer = sgd()
        if optimizer_first:
            optimizer.load_state_dict(saved[0])
        scheduler = make(optimizer)
        scheduler.load_state_dict(saved[1])
        if not optimizer_first:
            optimizer.load_state_dict(saved[0])
        return walk(scheduler, 2)

    assert (resumed(torchs_warm) == WHOLE[5:]) is not optimizer_first
    assert resumed(lambda o: attach(o, WARM)) == WHOLE[5:]


def test_without_the_optimizer_s_checkpoint_the_rate_is_right():
    """29697."""
    want = [0.1, 0.1, 0.01]

    def resumed(make):
        first = make(sgd())
        walk(first, 4)
        scheduler = make(sgd())
        scheduler.load_state_dict(first.state_dict())
        return walk(scheduler, 2)

    assert resumed(lambda o: torchs.MultiStepLR(o, [3, 6])) != want
    assert resumed(lambda o: attach(o, multi_step([3, 6]))) == want


def test_a_checkpoint_brings_back_what_a_function_said():
    """LambdaLR's state leaves functions out: one made with another function goes on with it."""
    first = torchs.LambdaLR(sgd(), lambda n: 0.5**n)
    walk(first, 2)
    other = torchs.LambdaLR(sgd(), lambda n: 0.9**n)
    other.load_state_dict(first.state_dict())
    assert walk(other, 1) == [1.0, 0.9**3]
    ours = attach(sgd(), exponential(gamma=0.5))
    walk(ours, 2)
    with pytest.raises(ValueError, match="saved with other schedules"):
        attach(sgd(), exponential(gamma=0.9)).load_state_dict(ours.state_dict())


# ---- several at once


def chained(*pieces):
    optimizer = sgd()
    return torchs.ChainedScheduler([p(optimizer) for p in pieces], optimizer)


CHAINS = {
    "warm restarts (129565)": (
        (
            lambda o: torchs.MultiStepLR(o, [2, 4], 0.1),
            lambda o: torchs.CosineAnnealingWarmRestarts(o, 100),
        ),
        multi_step([2, 4], 0.1) * cosine(100),
    ),
    "a function": (
        (lambda o: torchs.ExponentialLR(o, 0.5), lambda o: torchs.LambdaLR(o, lambda n: 0.9**n)),
        exponential(gamma=0.5) * exponential(gamma=0.9),
    ),
    "a cycle": (
        (
            lambda o: torchs.ExponentialLR(o, 0.5),
            lambda o: torchs.CyclicLR(o, 0.1, 1.0, 3, cycle_momentum=False),
        ),
        exponential(gamma=0.5) * cyclic(0.1, 1.0, 3),
    ),
    "a cosine with a minimum": (
        (
            lambda o: torchs.ConstantLR(o, 0.5, 3),
            lambda o: torchs.CosineAnnealingLR(o, 6, eta_min=0.1),
        ),
        constant(0.5, 3).then(constant(1.0)) * cosine(6, 0.1),
    ),
}


@pytest.mark.parametrize(("pieces", "product"), CHAINS.values(), ids=CHAINS)
def test_factors_do_not_overwrite_each_other(pieces, product):
    alone = [walk(make(sgd()), 6).expected for make in pieces]
    want = [a * b for a, b in zip(*alone, strict=True)]
    assert walk(chained(*pieces), 6) != want
    assert walk(attach(sgd(), product), 6) == want


# ---- saving


def test_what_drives_an_optimizer_can_be_pickled():
    """CyclicLR: 88684 and 90414, mended but for a scale of one's own; LambdaLR with a lambda."""
    own = torchs.CyclicLR(sgd(), 0.1, 1.0, 3, scale_fn=lambda cycle: 1 / cycle)
    for theirs in (own, torchs.LambdaLR(sgd(), lambda n: 0.9**n)):
        with pytest.raises((pickle.PicklingError, AttributeError)):
            pickle.dumps(theirs)
    for mode in ("triangular", "triangular2", "exp_range"):
        pickle.dumps(torchs.CyclicLR(sgd(), 0.1, 1.0, 3, mode=mode))
        ours = attach(sgd(), cyclic(0.1, 1.0, 3, mode=mode))
        walk(ours, 2)
        twin = pickle.loads(pickle.dumps(ours))
        assert twin.state_dict() == json.loads(json.dumps(ours.state_dict()))
        assert walk(twin, 9) == walk(ours, 9).expected


# ---- warnings


def test_a_step_that_a_scaler_left_out_is_not_a_wrong_order():
    """44511. Torch looks at whether the optimizer's step was called, which a scaler prevents."""

    def train(scheduler):
        (p,) = scheduler.optimizer.param_groups[0]["params"]
        scaler = torch.amp.GradScaler("cpu", init_scale=4.0)
        scaler.scale(p.sum() * float("inf")).backward()
        scaler.step(scheduler.optimizer)
        scaler.update()
        scheduler.step()

    with pytest.warns(UserWarning, match="before `optimizer.step"):
        train(torchs.StepLR(sgd(), 3))
    train(attach(sgd(), multi_step([3])))


def test_a_copy_is_not_in_the_wrong_order():
    """Torch's mark on the optimizer's step is lost by pickling, and its absence blamed on you."""

    def train(scheduler):
        twin = pickle.loads(pickle.dumps(scheduler))
        twin.optimizer.step()
        twin.step()

    with pytest.warns(UserWarning, match="has been overridden"):
        train(torchs.StepLR(sgd(), 3))
    train(attach(sgd(), multi_step([3])))


def test_a_step_assigned_later_is_no_wrong_order():
    """As profilers and wrappers of the optimizer assign it."""

    def train(scheduler):
        optimizer = scheduler.optimizer
        optimizer.step = type(optimizer).step.__get__(optimizer)
        optimizer.step()
        scheduler.step()

    with pytest.warns(UserWarning, match="has been overridden"):
        train(torchs.StepLR(sgd(), 3))
    train(attach(sgd(), multi_step([3])))
