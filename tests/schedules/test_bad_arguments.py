"""What a schedule cannot be is refused, with the argument and the value in the message."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from thalweg.schedules import (
    constant,
    cosine,
    cyclic,
    exponential,
    exponential_steps,
    inverse_sqrt,
    inverse_time,
    linear,
    multi_step,
    one_cycle,
    one_cycle_momentum,
    polynomial,
    step,
    warm_restarts,
    wsd,
)

A = cosine(100)
VALUES = [
    (lambda: constant(math.nan), "value must be finite, not nan"),
    (lambda: constant(1, 0), "steps must be finite and above 0, not 0"),
    (lambda: linear(math.inf, 1, 5), "start must be finite, not inf"),
    (lambda: linear(0, -math.inf, 5), "end must be finite, not -inf"),
    (lambda: linear(0, 1, -5), "steps must be .* not -5"),
    (lambda: linear(0, 1, math.nan), "steps must be .* not nan"),
    (lambda: polynomial(1, 0, 0), "steps must be .* not 0"),
    (lambda: polynomial(1, 0, 5, power=0), "power must be .* not 0"),
    (lambda: step(0), "every must be .* not 0"),
    (lambda: step(5, -0.1), "factor must be .* not -0.1"),
    (lambda: multi_step([5, 4]), r"milestones must ascend, not \(5, 4\): 4 follows 5"),
    (lambda: multi_step([-1, 4]), "milestones must be .* not -1"),
    (lambda: multi_step([4], -1), "factor must be .* not -1"),
    (lambda: exponential(), "k or gamma must be given"),
    (lambda: exponential(0.1, 0.9), "give one, not k=0.1, gamma=0.9"),
    (lambda: exponential(k=math.nan), "k must be finite, not nan"),
    (lambda: exponential(gamma=0), "gamma must be .* above 0, not 0"),
    (lambda: exponential_steps(0), "total must be .* not 0"),
    (lambda: exponential_steps(10, 0), "beta must be .* not 0"),
    (lambda: exponential_steps(10, 11), "beta must be at most total, 10, not 11"),
    (lambda: inverse_time(-1), "k must be .* not -1"),
    (lambda: inverse_sqrt(0), "warmup must be .* not 0"),
    (lambda: inverse_sqrt(5, math.nan), "start must be finite, not nan"),
    (lambda: cosine(-100), "steps must be .* not -100"),
    (lambda: cosine(100, math.nan), "end must be finite, not nan"),
    (lambda: cosine(100, 0, math.inf), "start must be finite, not inf"),
    (lambda: cosine(100, periodic=1), "periodic must be one of False, True, not 1"),
    (lambda: warm_restarts(0), "first must be .* not 0"),
    (lambda: warm_restarts(5, 0.5), "factor must be .* at least 1, not 0.5"),
    (lambda: warm_restarts(5, end=math.nan), "end must be finite"),
    (lambda: warm_restarts(5, start=math.nan), "start must be finite"),
    (lambda: one_cycle(0), "total must be .* not 0"),
    (lambda: one_cycle(9, 1.1), "pct_start must be .* at most 1, not 1.1"),
    (lambda: one_cycle(9, 0.6, three_phase=True), "pct_start must be at most 0.5 .* not 0.6"),
    (lambda: one_cycle(9, anneal_strategy="cosine"), "anneal_strategy .* did you mean 'cos'"),
    (lambda: one_cycle(9, div_factor=0), "div_factor must be .* not 0"),
    (lambda: one_cycle(9, final_div_factor=-1), "final_div_factor must be .* not -1"),
    (lambda: one_cycle(9, three_phase="yes"), "three_phase must be one of .* not 'yes'"),
    (lambda: one_cycle_momentum(-9), "total must be .* not -9"),
    (lambda: one_cycle_momentum(9, math.nan), "base_momentum must be finite"),
    (lambda: one_cycle_momentum(9, 0.8, math.nan), "max_momentum must be finite"),
    (lambda: cyclic(math.nan), "base must be finite"),
    (lambda: cyclic(0, math.nan), "peak must be finite"),
    (lambda: cyclic(0, 1, 0), "step_size_up must be .* not 0"),
    (lambda: cyclic(0, 1, 5, -5), "step_size_down must be .* not -5"),
    (lambda: cyclic(0, 1, 5, mode="triangular3"), "mode .* did you mean 'triangular'"),
    (lambda: cyclic(0, 1, 5, mode="exp_range", gamma=-1), "gamma must be .* not -1"),
    (lambda: cyclic(0, 1, 5, gamma=0.9), 'gamma must be 1 unless mode is "exp_range", not 0.9'),
    (lambda: wsd(0, 0, 0), "total must be .* not 0"),
    (lambda: wsd(100, -1, 5), "warmup must be .* not -1"),
    (lambda: wsd(100, 5, -1), "decay must be .* not -1"),
    (lambda: wsd(100, 101, 0), "warmup must be at most total, 100, not 101"),
    (lambda: wsd(100, 60, 41), "decay must be at most .* 40, not 41"),
    (lambda: wsd(100, 5, 5, math.nan), "start must be finite"),
    (lambda: wsd(100, 5, 5, 0, math.nan), "end must be finite"),
    (lambda: wsd(100, 5, 5, shape="square"), "shape must be one of .* not 'square'"),
    (lambda: A.until(0), "steps must be .* not 0"),
    (lambda: A.delayed(-1), "steps must be .* not -1"),
    (lambda: A.stretched_to(-5), "total must be .* not -5"),
    (lambda: A.warmed_up(-5), "steps must be .* not -5"),
    (lambda: A.warmed_up(5, math.nan), "start must be finite"),
    (lambda: A.in_epochs(0), "steps_per_epoch must be .* not 0"),
    (lambda: A.in_epochs(5, whole=1), "whole must be one of False, True, not 1"),
    (lambda: A * math.nan, "other must be finite, not nan"),
    (lambda: A(-1), "step must be finite and at least 0, not -1"),
    (lambda: A(math.inf), "step must be .* not inf"),
    (lambda: A(np.array([1.0, math.nan])), "step must be .* not nan"),
    (lambda: A(torch.tensor([1, -1])), "step must be .* not -1"),
    (lambda: A.plot(steps=0), "steps must be .* not 0"),
]  # fmt: skip
KINDS = [
    (lambda: cosine("100"), "steps must be a number, not '100'"),
    (lambda: cosine(True), "steps must be a number, not True"),
    (lambda: cosine(None), "steps must be a number, not None"),
    (lambda: cosine(A), "steps must be a number, not cosine"),
    (lambda: linear([0], 1, 5), "start must be a number"),
    (lambda: multi_step(5), "milestones must be a sequence of steps, not 5"),
    (lambda: multi_step("56"), "milestones must be a sequence of steps, not '56'"),
    (lambda: multi_step(["5"]), "milestones must be a number, not '5'"),
    (lambda: A.then(5), "second must be a schedule, not 5"),
    (lambda: A.then(cosine), "second must be a schedule"),
    (lambda: A * "2", "other must be a number, not '2'"),
    (lambda: A("3"), "step must be a number, not '3'"),
    (lambda: A(None), "step must be a number, not None"),
    (lambda: A(np.array([1j])), "step must be a number"),
    (lambda: cosine(100, ending=5), "ending"),
]  # fmt: skip


@pytest.mark.parametrize(("make", "said"), VALUES, ids=[s for _, s in VALUES])
def test_values(make, said):
    with pytest.raises(ValueError, match=said):
        make()


@pytest.mark.parametrize(("make", "said"), KINDS, ids=[s for _, s in KINDS])
def test_kinds(make, said):
    with pytest.raises(TypeError, match=said):
        make()
