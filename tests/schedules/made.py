"""Schedules of every kind for hypothesis: each constructor, and compositions of them."""

from __future__ import annotations

from hypothesis import strategies as st

from thalweg import schedules as s

values = st.floats(-1e3, 1e3)
factors = st.floats(0, 2)
lengths = st.integers(1, 400) | st.floats(0.5, 400)
flags = st.booleans()
shares = st.floats(0, 0.5)
anneals = st.sampled_from(["cos", "linear"])


def wsd(total, warmup, decay, start, end, shape):
    return s.wsd(total, warmup * total, decay * total, start, end, shape)


def optional(strategy):
    return st.none() | strategy


CONSTRUCTORS = {
    "constant": st.builds(s.constant, values, optional(lengths)),
    "linear": st.builds(s.linear, values, values, lengths),
    "polynomial": st.builds(s.polynomial, values, values, lengths, st.floats(0.1, 5)),
    "wsd": st.builds(
        wsd, lengths, shares, shares, values, values, st.sampled_from(["linear", "cosine", "sqrt"])
    ),
    "cosine": st.builds(s.cosine, lengths, values, values, flags),
    "warm_restarts": st.builds(s.warm_restarts, lengths, st.floats(1, 3), values, values),
    "one_cycle": st.builds(
        s.one_cycle, lengths, shares, anneals, st.floats(0.5, 50), st.floats(0.5, 1e5), flags
    ),
    "one_cycle_momentum": st.builds(
        s.one_cycle_momentum, lengths, values, values, shares, anneals, flags
    ),
    "cyclic": st.builds(
        s.cyclic, values, values, lengths, optional(lengths),
        st.sampled_from(["triangular", "triangular2"]),
    )
    | st.builds(
        s.cyclic, values, values, lengths, mode=st.just("exp_range"), gamma=st.floats(0, 1)
    ),
    "exponential": st.builds(s.exponential, k=st.floats(0, 1))
    | st.builds(s.exponential, gamma=st.floats(0.1, 1)),
    "exponential_steps": st.builds(s.exponential_steps, lengths, st.floats(0.01, 0.5)),
    "inverse_time": st.builds(s.inverse_time, factors),
    "inverse_sqrt": st.builds(s.inverse_sqrt, lengths, values),
    "step": st.builds(s.step, lengths, factors),
    "multi_step": st.builds(
        s.multi_step, st.lists(st.integers(0, 300), max_size=5).map(sorted), factors
    ),
}  # fmt: skip


def ending(schedule):
    """The same, with an end."""
    return schedule if schedule.length is not None else schedule.until(100)


def _composed(inner):
    ends = inner.map(ending)
    return st.one_of(
        st.builds(lambda a, b: a.then(b), ends, inner),
        st.builds(lambda a, b: a * b, inner, inner),
        st.builds(lambda a, x: a * x, inner, values),
        st.builds(lambda a, n: a.delayed(n), inner, lengths),
        st.builds(lambda a, n: a.until(n), inner, lengths),
        st.builds(lambda a, n: a.stretched_to(n), ends, lengths),
        st.builds(lambda a, n, x: a.warmed_up(n, x), inner, st.integers(0, 50), values),
        st.builds(lambda a, n, w: a.in_epochs(n, w), inner, lengths, flags),
    )


every = st.recursive(st.one_of(*CONSTRUCTORS.values()), _composed, max_leaves=4)
ended = every.map(ending)
steps = st.integers(0, 2000) | st.floats(0, 2000)
