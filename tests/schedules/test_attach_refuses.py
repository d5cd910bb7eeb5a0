"""What cannot be attached, or stepped to, is refused, and changes nothing."""

from __future__ import annotations

import pytest
import torch

from optim.training import assert_same, snapshot, tensors
from schedules.driven import rates, two_groups, walk
from thalweg import optim
from thalweg.schedules import constant, cosine, linear, plateau
from thalweg.schedules.attach import attach

C = cosine(9)
SPILT = constant(1e300) * 1e300  # infinite
BAD = {
    "optimizer": (lambda o: attach(None, C), TypeError, "optimizer must be a torch.optim.Opt"),
    "a function": (lambda o: attach(o, lambda t: 0.9**t), TypeError, "schedule must be a schedule"),
    "a number": (lambda o: attach(o, 0.1), TypeError, "schedule must be a schedule.* not 0.1"),
    "nothing": (lambda o: attach(o, None), ValueError, "schedule is None"),
    "all None": (lambda o: attach(o, [None, None]), ValueError, "schedule is None"),
    "few": (lambda o: attach(o, [C]), ValueError, "schedule is a list of 1, .* has 2 param"),
    "few rates": (lambda o: attach(o, C, lr=[0.1]), ValueError, "lr is a list of 1"),
    "negative": (lambda o: attach(o, C, lr=-0.1), ValueError, "lr must be .*at least 0, not -0.1"),
    "nan": (lambda o: attach(o, C, lr=float("nan")), ValueError, "lr must be finite"),
    "a word": (lambda o: attach(o, C, lr="0.1"), TypeError, "lr must be a number, not '0.1'"),
    "idle rate": (lambda o: attach(o, None, lr=1, momentum=C), ValueError, "lr is 1, but"),
    "idle rate of one": (
        lambda o: attach(o, [C, None], lr=[1.0, 2.0]), ValueError, r"lr\[1\] is 2.0, but group 1",
    ),
    "unknown": (
        lambda o: attach(o, C, beta=C), TypeError, "'beta' .* has: lr, momentum, dampening, weight",
    ),
    "a switch": (lambda o: attach(o, C, nesterov=C), TypeError, "nesterov cannot have a sch.*Fal"),
    "turned off": (lambda o: attach(o, C, max_grad_norm=C), TypeError, "max_grad_norm .* is None"),
    "base": (lambda o: attach(o, C, initial_lr=C), TypeError, "no hyperparameter 'initial_lr'"),
    "params": (lambda o: attach(o, C, params=C), TypeError, "no hyperparameter 'params'"),
    "too many": (lambda o: attach(o, C, momentum=(C, C)), ValueError, "momentum is one number"),
    "text": (lambda o: attach(o, C, momentum="0.9"), TypeError, "momentum must be a number"),
    "one beta": (lambda o: attach(adam(), C, betas=C), ValueError, "betas is 2 numbers"),
    "three betas": (lambda o: attach(adam(), C, betas=(C,) * 3), ValueError, "betas is 2 numbers"),
    "below 0": (
        lambda o: attach(o, linear(-1, 1, 4)), ValueError, r"lr .* at least 0, not -0.1, .* step 0",
    ),
    "below 0 of one": (
        lambda o: attach(o, [C, linear(-1, 1, 4)]), ValueError, r"not -0.02.* lr of group 1",
    ),
    "infinite": (
        lambda o: attach(o, None, momentum=SPILT), ValueError, "momentum must be finite, not inf",
    ),
    "a beta's text": (lambda o: attach(adam(), C, betas=("a", 1)), TypeError, r"betas\[0\] must"),
}  # fmt: skip


def adam():
    return optim.Adam(tensors())


@pytest.mark.parametrize(("call", "kind", "message"), BAD.values(), ids=BAD)
def test_bad_input_changes_nothing(call, kind, message):
    optimizer = two_groups()
    before = snapshot(optimizer)
    with pytest.raises(kind, match=message):
        call(optimizer)
    assert_same(before, snapshot(optimizer))


NO_STEPS = {
    "negative": (lambda s: s.jump(-1), ValueError, "step must be at least 0, not -1"),
    "between": (lambda s: s.jump(1.5), TypeError, "step must be a whole number.* not 1.5"),
    "text": (lambda s: s.jump("2"), TypeError, "step must be a whole number of steps, not '2'"),
    "epoch": (lambda s: s.step(-2), ValueError, "epoch must be at least 0, not -2"),
    "a metric": (lambda s: s.step(2.0), TypeError, "epoch must be a whole number.* not 2.0"),
    "a loss": (lambda s: s.step(torch.tensor(2.0)), TypeError, "epoch must be a whole number"),
}


@pytest.mark.parametrize(("call", "kind", "message"), NO_STEPS.values(), ids=NO_STEPS)
def test_what_is_no_step_changes_nothing(call, kind, message):
    scheduler = attach(two_groups(), C)
    walk(scheduler, 2)
    before = scheduler.state_dict(), rates(scheduler.optimizer)
    with pytest.raises(kind, match=message):
        call(scheduler)
    assert (scheduler.state_dict(), rates(scheduler.optimizer)) == before


FALLING = linear(1, -1, 4)  # 0 at step 2, -0.5 at step 3
SPILLS = {
    "torch's": (torch.optim.SGD, FALLING, {}, "-0.05.* step 3 under lin.* lr of group 0"),
    "one of two": (optim.SGD, [C, FALLING], {"momentum": linear(0, 0.9, 9)}, "-0.01.* group 1"),
    "infinite": (optim.SGD, constant().until(3).then(SPILT), {}, "at least 0, not inf"),
    "a beta": (optim.Adam, C, {"betas": (None, constant(0.9).until(3).then(SPILT))}, "betas must"),
    "not a number": (
        optim.SGD,
        C,
        {"momentum": constant(0.5).until(3).then(SPILT * 0.0)},
        "momentum must be .* not nan",
    ),
    "beside a plateau": (optim.SGD, [plateau(patience=0), FALLING], {}, "-0.01.* group 1"),
}


@pytest.mark.parametrize(("make", "schedule", "others", "message"), SPILLS.values(), ids=SPILLS)
def test_what_no_rate_or_option_can_be_is_refused_at_its_step(make, schedule, others, message):
    optimizer = two_groups(make)
    scheduler = attach(optimizer, schedule, **others)
    step = scheduler.step if "plateau" not in repr(schedule) else lambda: scheduler.step(1.0)
    step(), step()
    before, state = snapshot(optimizer), scheduler.state_dict()
    with pytest.raises(ValueError, match=message):
        step()
    assert_same(before, snapshot(optimizer))
    assert scheduler.state_dict() == state


def test_an_optimizer_without_a_rate_is_refused():
    class Bare(torch.optim.Optimizer):
        def __init__(self, params):
            super().__init__(params, {"temperature": 1.0})

    with pytest.raises(TypeError, match="optimizer has no learning rate: Bare"):
        attach(Bare(tensors()), None, temperature=C)


def test_groups_that_come_late_are_refused_at_the_next_step():
    optimizer = optim.SGD(tensors(), lr=0.1)
    scheduler = attach(optimizer, cosine(9))
    walk(scheduler, 3)
    optimizer.add_param_group({"params": tensors(seed=1), "lr": 0.4})
    before, state = snapshot(optimizer), scheduler.state_dict()
    for call in (
        scheduler.step,
        lambda: scheduler.jump(2),
        lambda: scheduler.load_state_dict(state),
    ):
        with pytest.raises(ValueError, match=r"has 2 parameter groups, but had 1 .*jump"):
            call()
    assert_same(before, snapshot(optimizer))
    assert scheduler.state_dict() == state
    again = attach(optimizer, cosine(9))
    again.jump(scheduler.last_epoch)
    assert rates(optimizer) == [0.1 * cosine(9)(3), 0.4 * cosine(9)(3)]
