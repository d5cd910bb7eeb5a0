"""The cautious modifier on every algorithm, against each one's reference held back from outside."""

from __future__ import annotations

import pytest
import torch

from optim.table import ROWS, cases, every_engine, fullest
from optim.test_rounding import check_every_step, small
from optim.training import Close, assert_same, contents, gradients, params, step, tensors, train

SHAPES = ((), (3, 7))
COURSE = gradients(40, shapes=SHAPES)


def honours(row, options):
    try:
        row.make(tensors(), cautious=True, **options)
    except ValueError as refusal:
        if "cautious=True" not in str(refusal):
            raise
        return False
    return True


# Without decay, what a step takes off the weights is its direction. Without eps, weights whose
# first gradient is zero are lost, and so is what would be taken off them.
BARE = {
    (c.values[0].name, str(sorted(options.items(), key=str))): pytest.param(
        c.values[0], options, id=c.id
    )
    for c in cases()
    for options in [{**c.values[1], "weight_decay": 0.0}]
    if options.get("eps") != 0 and honours(c.values[0], options)
}
FULL = [pytest.param(row, fullest(row), id=row.name) for row in ROWS if honours(row, fullest(row))]
REFUSED = [row for row in ROWS if not honours(row, fullest(row))]


class Cautious:
    """Liang et al. 2024, Algorithm 1, around the steps of any optimizer."""

    def __init__(self, optimizer):
        self.optimizer = optimizer
        self.param_groups, self.state = optimizer.param_groups, optimizer.state

    @torch.no_grad()
    def step(self):
        before = [p.clone() for p in params(self.optimizer)]
        self.optimizer.step()
        for group in self.param_groups:
            for p in group["params"]:
                w = before.pop(0)
                u = w - p
                phi = (u * (-p.grad if group.get("maximize") else p.grad) > 0).to(p.dtype)
                p.copy_(w - u * phi / max(float(phi.mean()), 1e-3))


@every_engine
@pytest.mark.parametrize(("row", "options"), BARE.values())
def test_equals_its_reference_held_back(row, options, engine):
    ours = row.make(tensors(shapes=SHAPES), engine=engine, cautious=True, **options)
    theirs = Cautious(row.theirs(tensors(shapes=SHAPES), **options))
    # The direction is a difference of weights there, and a small share makes its error larger.
    close = Close(1e-10)
    for grads in COURSE:
        close(step(ours, grads), step(theirs, grads))


@every_engine
@pytest.mark.parametrize(("row", "options"), FULL)
def test_float32(row, options, engine):
    check_every_step(
        row.make(small(), engine=engine, cautious=True, **options),
        gradients(10, torch.float32, ((40,),)),
    )


@every_engine
@pytest.mark.parametrize(("row", "options"), FULL)
def test_it_is_an_option_of_the_checkpoint_and_needs_no_state(row, options, engine):
    o = train(row.make(tensors(), engine=engine, cautious=True, **options), gradients(3))
    usual = train(row.make(tensors(), engine=engine, **options), gradients(3))
    assert contents(o).keys() == contents(usual).keys()
    other = row.make([p.detach().clone().requires_grad_() for p in params(o)], engine=engine)
    other.load_state_dict(o.state_dict())
    assert_same(contents(train(o, gradients(6)[3:])), contents(train(other, gradients(6)[3:])))


@pytest.mark.parametrize("row", REFUSED, ids=lambda row: row.name)
def test_where_it_makes_no_sense_it_is_refused_with_the_reason(row):
    with pytest.raises(ValueError, match=r"cautious=True (cannot be honoured by|needs) .*: .{20}"):
        row.make(tensors(), cautious=True, **fullest(row))


@pytest.mark.parametrize("cls", ["SGD", "RMSprop"])
def test_it_needs_momentum_where_that_is_an_option(cls):
    from thalweg import optim

    make = getattr(optim, cls)
    make(tensors(), momentum=0.5, cautious=True)
    with pytest.raises(ValueError, match="cautious=True needs momentum"):
        make(tensors(), cautious=True)


def two(decay, **options):
    """A step of SGD with momentum whose decay turns one gradient around, and one without a mask."""
    from thalweg import optim

    p = torch.tensor([1.0, 1.0, 1.0, 1.0], dtype=torch.float64, requires_grad=True)
    o = optim.SGD([p], lr=0.1, momentum=0.5, weight_decay=decay, **options)
    for g in ([1.0, 1.0, -1.0, 1.0], [1.0, -0.3, -1.0, -2.0]):
        p.grad = torch.tensor(g, dtype=torch.float64)
        o.step()
    return p.detach()


@every_engine
def test_the_gradient_is_the_one_that_the_rule_sees(engine):
    # Step 1: z = g, all agree. Step 2: z = 0.5 z + g = [1.5, 0.2, -1.5, -1.5]; the second has
    # another sign than its gradient: three of four are left, and go 4/3 as far.
    expected = torch.tensor([0.9 - 0.2, 0.9, 1.1 + 0.2, 0.9 + 0.2], dtype=torch.float64)
    assert torch.allclose(two(0.0, cautious=True, engine=engine), expected, rtol=1e-14)
    # With decay 1: g + w = [2, 2, 0, 2] at first, where 0 is left out of four (4/3 again), then at
    # w = [0.7333, 0.7333, 1, 0.7333] it is [1.7333, 0.4333, 0, -1.2667], z = [2.7333, 1.4333, 0,
    # -0.2667]: three agree.
    w = 1 - 0.1 * 2 * 4 / 3
    seen = [1 + w, -0.3 + w, 0.0, -2 + w]
    z = [1 + seen[0], 1 + seen[1], 0.0, 1 + seen[3]]
    expected = torch.tensor(
        [w - 0.1 * z[0] * 4 / 3, w - 0.1 * z[1] * 4 / 3, 1.0, w - 0.1 * z[3] * 4 / 3],
        dtype=torch.float64,
    )
    assert torch.allclose(two(1.0, cautious=True, engine=engine), expected, rtol=1e-14)


@every_engine
def test_a_small_share_is_bounded_by_a_thousandth(engine):
    from thalweg import optim

    p = torch.zeros(10_000, dtype=torch.float64, requires_grad=True)
    o = optim.SGD([p], lr=1.0, momentum=1.0, cautious=True, engine=engine)
    first = torch.ones(10_000, dtype=torch.float64)
    step(o, [first])
    second = torch.full_like(first, -0.5)
    second[0] = 0.5
    step(o, [second])
    assert p[0].item() == pytest.approx(-1 - 1.5 / 1e-3)
    assert (p[1:] == -1).all()
