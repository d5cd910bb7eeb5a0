"""Schedules that go up and down again, and their momentum, which goes the other way."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from thalweg.schedules.checks import SHARE, finite, positive, within
from thalweg.schedules.cosines import fall
from thalweg.schedules.entry import Course
from thalweg.schedules.lines import line, mix
from thalweg.schedules.schedule import constructor
from thalweg.validation import NON_NEGATIVE, check_choice

Anneal = Literal["cos", "linear"]
Mode = Literal["triangular", "triangular2", "exp_range"]
PIECES = (
    r"s(t) = \begin{cases}"
    r"a\!\left({%s}, {%s}, \frac{t}{t_1}\right) & t \le t_1 = pT - 1 \\"
    r"a\!\left({%s}, {%s}, \frac{t - t_1}{T - 1 - t_1}\right) & t_1 < t\end{cases}"
    r", \quad a(x, y, p) = y + \tfrac{1}{2}(x - y)(1 + \cos \pi p)"
)


@constructor(
    PIECES % (r"\tfrac{1}{d}", "1", "1", r"\tfrac{1}{d\,d_{\mathrm{final}}}"), example=(100,)
)
def one_cycle(
    total: float,
    pct_start: float = 0.3,
    anneal_strategy: Anneal = "cos",
    div_factor: float = 25.0,
    final_div_factor: float = 1e4,
    three_phase: bool = False,
) -> Course:
    """One cycle: up from a small value to 1, and down to one that is much smaller.

    ::

        t <= t1:     value(t) = from 1 / div_factor to 1                  t1 = pct_start total - 1
        after it:    value(t) = from 1 to 1 / (div_factor final_div_factor), at step total - 1

        three_phase: from 1 back to 1 / div_factor until 2 pct_start total - 2, then to the end

    Args:
        total: steps of the training, above 0; the smallest value is that of the last of them, step
            total - 1.
        pct_start: share of them on the way up, from 0 to 1; at most 0.5 with three_phase.
        anneal_strategy: ``"cos"`` or ``"linear"``.
        div_factor: how many times 1 is more than the first value, above 0.
        final_div_factor: how many times the first value is more than the last one, above 0.
        three_phase: go down as fast as up, and then further down.

    In torch: ``OneCycleLR(max_lr=lr, total_steps=total, ...)`` with the same arguments; its
    momentum is ``one_cycle_momentum``.

    Reference: Smith & Topin 2019, SPIE 11006, arXiv:1708.07120; the default shape is fastai's.
    """
    start = 1 / positive("div_factor", div_factor)
    end = start / positive("final_div_factor", final_div_factor)
    levels = (start, 1.0, start, end) if three_phase else (start, 1.0, end)
    return _phases(total, pct_start, anneal_strategy, three_phase, levels)


@constructor(
    PIECES % (r"\mu_{\max}", r"\mu_{\mathrm{base}}", r"\mu_{\mathrm{base}}", r"\mu_{\max}"),
    example=(100,),
)
def one_cycle_momentum(
    total: float,
    base_momentum: float = 0.85,
    max_momentum: float = 0.95,
    pct_start: float = 0.3,
    anneal_strategy: Anneal = "cos",
    three_phase: bool = False,
) -> Course:
    """The momentum, or beta1, of ``one_cycle``: least where the rate is highest.

    ::

        t <= t1:     value(t) = from max_momentum to base_momentum        t1 = pct_start total - 1
        after it:    value(t) = from base_momentum to max_momentum, at step total - 1

        three_phase: max_momentum from 2 pct_start total - 2 on

    Args:
        total: steps of the training, above 0.
        base_momentum: the least, finite.
        max_momentum: the first and the last value, finite.
        pct_start: share of the steps on the way down, from 0 to 1; at most 0.5 with three_phase.
        anneal_strategy: ``"cos"`` or ``"linear"``.
        three_phase: as ``one_cycle`` has it.

    In torch: ``OneCycleLR(cycle_momentum=True)``.

    Reference: Smith 2018, arXiv:1803.09820, section 4.3.
    """
    low, high = finite("base_momentum", base_momentum), finite("max_momentum", max_momentum)
    levels = (high, low, high, high) if three_phase else (high, low, high)
    return _phases(total, pct_start, anneal_strategy, three_phase, levels)


def _phases(
    total: float, pct_start: float, strategy: Anneal, three_phase: bool, levels: Sequence[float]
) -> Course:
    """From level to level, as torch places the joints: step total - 1 is the last one."""
    n, share = positive("total", total), within(SHARE, "pct_start", pct_start)
    check_choice("anneal_strategy", strategy, ("cos", "linear"))
    check_choice("three_phase", three_phase, (False, True))
    if three_phase and share > 0.5:
        raise ValueError(f"pct_start must be at most 0.5 with three_phase, not {share}")
    last = max(n - 1, 0)
    joints = [0.0, share * n - 1, *([2 * share * n - 2] if three_phase else []), last]

    def value(t: float) -> float:
        t = min(t, last)
        i = next(i for i in range(1, len(joints)) if t <= joints[i])
        gone, steps = t - joints[i - 1], joints[i] - joints[i - 1]
        if gone == steps:
            return levels[i]
        if strategy == "linear":
            return line(levels[i - 1], levels[i], gone, steps)
        return mix(levels[i - 1], levels[i], fall(gone, steps))

    return Course(value, n, n)


@constructor(
    r"s(t) = \alpha_{\mathrm{base}} + (\alpha_{\mathrm{peak}} - \alpha_{\mathrm{base}})\,h(t)"
    r"\,\mathrm{triangle}(t), \quad h(t) \in \{1, 2^{-\lfloor t / P \rfloor}, \gamma^{t}\}",
    example=(0.1, 1, 20, 30, "triangular2"),
)
def cyclic(
    base: float,
    peak: float = 1.0,
    step_size_up: float = 2000,
    step_size_down: float | None = None,
    mode: Mode = "triangular",
    gamma: float = 1.0,
) -> Course:
    """Up and down again in straight lines, for ever.

    ::

        value(t) = base + (peak - base) scale(t) triangle(t)

        triangle(t): from 0 to 1 in step_size_up steps and back to 0 in step_size_down
        scale(t) = 1 (triangular), 1 / 2^(cycles before t) (triangular2) or gamma^t (exp_range)

    The momentum that belongs to it goes the other way: the same with base and peak exchanged,
    ``cyclic(0.9, 0.8, ...)``.

    Args:
        base: value at the start and the end of each cycle, finite.
        peak: value between them in the first cycle, finite.
        step_size_up: steps from base to peak, above 0.
        step_size_down: steps from peak to base, above 0; None: as many.
        mode: what becomes of the height: ``"triangular"`` keeps it, ``"triangular2"`` halves it
            each cycle, ``"exp_range"`` multiplies it by gamma each step.
        gamma: for ``"exp_range"``, at least 0; the others take only 1.

    In torch: ``CyclicLR(base_lr=lr * base, max_lr=lr * peak, ...)`` with the same arguments, which
    defaults to the momentum ``cyclic(0.9, 0.8, ...)``.

    Reference: Smith 2017, WACV, arXiv:1506.01186.
    """
    finite("base", base)
    finite("peak", peak)
    up = positive("step_size_up", step_size_up)
    down = up if step_size_down is None else positive("step_size_down", step_size_down)
    check_choice("mode", mode, ("triangular", "triangular2", "exp_range"))
    within(NON_NEGATIVE, "gamma", gamma)
    if mode != "exp_range" and gamma != 1:
        raise ValueError(f'gamma must be 1 unless mode is "exp_range", not {gamma}')

    def value(t: float) -> float:
        cycle, at = divmod(t, up + down)
        height = at / up if at < up else (up + down - at) / down
        match mode:
            case "triangular2":
                height *= 0.5**cycle
            case "exp_range":
                height *= gamma**t
        return mix(peak, base, height)

    return Course(value, None, 3 * (up + down))
