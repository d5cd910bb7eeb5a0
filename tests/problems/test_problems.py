"""Problems: splits, determinism, and the lecture's run to its last printed digit."""

from __future__ import annotations

import pytest
import torch

from thalweg import optim
from thalweg.problems import PROBLEMS, digits, least_squares

# What the lecture prints: w before batches 0 and 50 of every epoch.
PRINTED = """
0.         0.         0.4391737  0.41735388 0.45621431 0.43296123 0.50458588 0.46953377
0.50659246 0.46976394 0.51664408 0.46913792 0.51715596 0.46786206 0.52339741 0.46367398
0.52374047 0.4622501  0.5295512  0.45779193 0.52985556 0.456353   0.53556725 0.45194588
0.53584598 0.45050492 0.54149192 0.44617918 0.54174661 0.44473749 0.54733087 0.44049501
0.54756198 0.43905271 0.55308576 0.43489257 0.55329364 0.43344969 0.55875783 0.42937075
0.55894282 0.42792729
"""


@pytest.mark.parametrize("engine", ["plain", "fused"])
def test_the_lectures_run_to_every_printed_digit(engine):
    w = torch.zeros(2, 1, dtype=torch.float64, requires_grad=True)
    o = optim.SGD([w], lr=0.001, engine=engine)
    seen = []
    for _ in range(10):
        for i, (x, y) in enumerate(least_squares.batches()):
            if i % 50 == 0:
                seen += w.flatten().tolist()
            o.zero_grad()
            (x @ w - y).square().sum().backward()
            o.step()
        assert i == 56
    seen += w.flatten().tolist()
    assert [round(v, 8) for v in seen] == [float(v) for v in PRINTED.split()]


def test_the_lectures_run_is_far_from_the_solution():
    assert least_squares.solution().flatten().tolist() == pytest.approx([0.948, 0.050], abs=5e-4)


def test_the_solution_is_the_same_to_the_bit_wherever_memory_lies():
    held, found = [], set()
    for i in range(500):
        held.append(torch.zeros(1 + i % 37))
        found.add(tuple(least_squares.solution().flatten().tolist()))
    assert len(found) == 1


def test_standardised_by_the_population():
    for part in least_squares.data():
        assert torch.allclose(part.mean(0), torch.zeros(1, dtype=torch.float64), atol=1e-12)
        assert torch.allclose(part.std(0, correction=0), torch.ones(1, dtype=torch.float64))


def test_digits_parts_are_disjoint_and_complete():
    parts = digits.data()
    assert {k: len(y) for k, (_, y) in parts.items()} == {
        "train": 1077,
        "validation": 360,
        "test": 360,
    }
    rows = [tuple(r) for x, _ in parts.values() for r in x.tolist()]
    assert len(rows) == 1797
    for x, y in parts.values():
        assert 0 <= x.min() <= x.max() <= 1
        assert y.bincount(minlength=10).min() > 0.08 * len(y)


@pytest.mark.parametrize("name", [p.name for p in PROBLEMS.values() if not p.remote])
def test_a_seed_decides_everything(name):
    def train(seed):
        task = PROBLEMS[name].start(seed)
        o = optim.SGD(task.model.parameters(), lr=1e-4)
        batches = list(task.batches())
        assert len(batches) == task.steps_per_epoch
        for batch in batches:
            o.zero_grad()
            task.loss(batch).backward()
            o.step()
        return task.evaluate("validation"), [p.detach().clone() for p in task.model.parameters()]

    torch.manual_seed(123)
    state = torch.get_rng_state()
    one, again, other = train(0), train(0), train(1)
    assert one[0] == again[0]
    assert all(map(torch.equal, one[1], again[1]))
    assert not torch.equal(one[1][0], other[1][0])
    assert torch.equal(torch.get_rng_state(), state), "the global generator was used"
