"""What an update rule is: one pure function in the paper's symbols, and a few facts about it.

::

    @rule(state={"m": "exp_avg", "v": "exp_avg_sq"}, paper="Kingma & Ba 2015")
    def adam(g, m, v, *, beta1, beta2, eps, step):
        m = beta1 * m + (1 - beta1) * g
        v = beta2 * v + (1 - beta2) * g * g
        m_hat, v_hat = m / (1 - beta1**step), v / (1 - beta2**step)
        return m_hat / (sqrt(v_hat) + eps), {"m": m, "v": v}

Positional parameters are tensors: ``w`` (weights) and ``g`` (gradient) where the rule needs them,
every other name a state (``scalar=`` names those that have one value per parameter). Keyword-only
parameters are scalars: hyperparameters, and ``step``, which counts from 1 for each parameter. The
rule gives back a direction and the new state; the weights become ``w - lr * direction`` unless
``apply`` says otherwise. State that is not given back is not needed, and not allocated.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal
from weakref import WeakKeyDictionary

from thalweg.rule.graph import Graph, plan
from thalweg.rule.trace import Node, lift

State = Mapping[str, Any]
Values = Mapping[str, Any]  # hyperparameters, options and the step, by name
Options = tuple[tuple[str, str], ...]
Answers = frozenset[tuple[str, str]]


def descend(w: Any, direction: Any, h: Values) -> Any:
    """The apply of nearly every rule."""
    return w - h["lr"] * direction


@dataclass(frozen=True, eq=False)
class Rule:
    """An update rule. ``direct(w, g, state, h)`` gives ``(direction, new state)`` and
    ``apply(w, direction, h)`` the new weights; both are pure and speak only arithmetic and
    ``rule.words``."""

    name: str
    direct: Callable[[Any, Any, State, Values], tuple[Any, dict[str, Any]]]
    state: Mapping[str, str]  # the rule's symbol -> the key in torch's state
    scalars: frozenset[str]  # names of the hyperparameters and options it reads
    apply: Callable[[Any, Any, Values], Any] = descend
    # The states that have one value per parameter, not one per weight; kept in double precision.
    scalar: frozenset[str] = frozenset()
    # Those among them that are the same for all parameters: one that comes late, or has no gradient
    # in a step, takes the others' value.
    shared: frozenset[str] = frozenset()
    # The states whose elements do not belong to weights (factors, bases), by the shape that they
    # have for a parameter's and its options; only matrix words take them. They start at zero.
    shaped: Mapping[str, Callable[[tuple[int, ...], Values], tuple[int, ...]]] = field(
        default_factory=dict
    )
    # The first value of a state: a number, the name of the hyperparameter that gives it, or "w" for
    # the weights.
    start: Mapping[str, float | str] = field(default_factory=dict)
    # The states that are rounded to nearest in every storage format: those that are kept as they
    # came, whose sign alone counts, or that only grow. All others, averages and sums, are rounded
    # at random to bfloat16, in which they would stand still.
    nearest: frozenset[str] = frozenset()
    # States whose difference is taken, where all of them are needed, are not rounded at random
    # either: the noise of both would make it negative.
    compared: frozenset[str] = frozenset()
    # Whether `step` is kept beside the state; a rule that asks only for the first step need not.
    # None: where the options make it ask.
    counts: bool | None = True
    # A first move, after which the gradient is taken anew and the rule itself steps from the
    # weights that the move has kept (SAM).
    climb: Rule | None = None
    # A first move that needs no gradient: the gradient is taken where it leads, and the rule itself
    # steps from the weights that were before it (Nesterov). It may lead nowhere.
    ahead: Rule | None = None
    # Other weights that the state knows of, each as a rule without a gradient that leads there:
    # "averaged", those to evaluate with, and "training", the way back.
    views: Mapping[str, Rule] = field(default_factory=dict)
    # What becomes of a sparse gradient: "rows" if a zero gradient changes nothing, so that rows it
    # does not hold may be left out; "dense" if it is filled up with zeros first.
    sparse: Callable[[Values], Literal["rows", "dense", "refused"]] = lambda h: "refused"
    paper: str = ""
    defaults: Mapping[str, Any] = field(default_factory=dict)  # of the function's arguments

    def update(self, w: Any, g: Any, state: State, h: Values) -> tuple[Any, dict[str, Any]]:
        """The whole step: new weights and new state."""
        direction, new = self.direct(w, g, state, h)
        unknown = set(new) - set(self.state)
        if unknown:
            raise ValueError(f"rule {self.name!r} gives back a state it did not declare: {unknown}")
        return self.apply(w, direction, h), new

    def trace(self, h: Values) -> Graph:
        """The rule's graph for the options in ``h``. Numbers become symbols that know only whether
        they are zero; booleans, strings and None stay what they are."""
        options = tuple(sorted((k, v) for k, v in key(h).items() if k in self.scalars))
        known, graphs = _traced.setdefault(self, ({}, {}))
        if options not in known:
            answers, graph = _trace(self, options)
            known[options] = graphs.setdefault(answers, graph)
        return known[options]

    def with_(self, **changes: Any) -> Rule:
        """A copy with some fields replaced: what a modifier gives back."""
        return replace(self, **changes)


def key(h: Values) -> dict[str, Any]:
    """What of the hyperparameters decides the shape of the graph: options as they are, numbers only
    by whether they are zero (``"0"`` or ``"x"``)."""
    return {k: ("x" if v else "0") if _is_number(v) else repr(v) for k, v in h.items()}


def _is_number(v: Any) -> bool:
    return isinstance(v, int | float) and not isinstance(v, bool)


def _trace(rule: Rule, options: Options) -> tuple[Answers, Graph]:
    asked: set[str] = set()  # the hyperparameters that an `if` has tested for zero
    values: dict[str, Any] = {}
    for name, answer in options:
        if answer in ("0", "x"):
            values[name] = Node("scalar", name=name, nonzero=answer == "x", asked=asked)
        else:
            values[name] = _STATIC.get(answer, answer[1:-1])
    values["step"] = Node("scalar", name="step", nonzero=True, asked=asked)
    tensors = {k: Node(_kind(rule, k), name=k) for k in ("w", "g", *rule.state)}
    w, new = rule.update(tensors["w"], tensors["g"], {k: tensors[k] for k in rule.state}, values)
    outputs = {"w": lift(w), **{k: lift(n) for k, n in new.items()}}
    # A rate that passes through zero must not look like another rule: only answers count.
    answers = frozenset((k, v) for k, v in options if k in asked or v not in ("0", "x"))
    return answers, plan(outputs, tuple(rule.state), rule.scalar, rule.shaped)


def _kind(rule: Rule, name: str) -> str:
    return "scalar" if name in rule.scalar else "shaped" if name in rule.shaped else "tensor"


# By rule, for as long as it is there: a graph for its options, and one for what of them it asked.
_traced: WeakKeyDictionary[Rule, tuple[dict[Options, Graph], dict[Answers, Graph]]]
_traced = WeakKeyDictionary()
_STATIC = {"True": True, "False": False, "None": None}


def rule(
    *misplaced: Any,
    state: Mapping[str, str] | tuple[str, ...] = (),
    paper: str = "",
    **facts: Any,
) -> Callable[[Callable[..., tuple[Any, dict[str, Any]]]], Rule]:
    """Make a :class:`Rule` of a function written as the paper writes it.

    ``state`` maps the function's symbols to keys of ``optimizer.state`` (a tuple uses the symbols
    themselves); ``facts`` are further fields of :class:`Rule` (``scalar``, ``shaped``, ``start``,
    ``nearest``, ``compared``, ``apply``, ``sparse``, ``counts``).
    """
    if misplaced:
        raise TypeError("write @rule(), with parentheses and named arguments, above the function")

    def decorate(function: Callable[..., tuple[Any, dict[str, Any]]]) -> Rule:
        keys = dict(state) if isinstance(state, Mapping) else {s: s for s in state}
        parameters = inspect.signature(function).parameters.values()
        tensors = [p.name for p in parameters if p.kind is not p.KEYWORD_ONLY]
        scalars = [p.name for p in parameters if p.kind is p.KEYWORD_ONLY]
        for name in tensors:
            if name not in ("w", "g", *keys):
                raise ValueError(
                    f"{function.__name__}: {name!r} is not in state={tuple(keys)}; "
                    "write hyperparameters after a `*`"
                )
        for name in keys:
            if name not in tensors:
                raise ValueError(f"{function.__name__}: the state {name!r} is not an argument")

        def direct(w: Any, g: Any, s: State, h: Values) -> tuple[Any, dict[str, Any]]:
            here = {"w": w, "g": g, **s}
            return function(*(here.get(k) for k in tensors), **{k: h[k] for k in scalars})

        facts["scalar"] = frozenset(facts.get("scalar", ()))
        facts["shared"] = frozenset(facts.get("shared", ()))
        facts["nearest"] = frozenset(facts.get("nearest", ()))
        facts["compared"] = frozenset(facts.get("compared", ()))
        if unknown := facts["scalar"] - set(keys):
            raise ValueError(f"{function.__name__}: scalar={tuple(unknown)} is not in state")
        for fact in ("shaped", "nearest", "compared"):
            if unknown := set(facts.get(fact, ())) - set(keys):
                raise ValueError(f"{function.__name__}: {fact}={tuple(unknown)} is not in state")
        names = frozenset((*scalars, "lr", *facts.pop("reads", ()))) - {"step"}
        given = {p.name: p.default for p in parameters if p.default is not p.empty}
        return Rule(function.__name__, direct, keys, names, paper=paper, defaults=given, **facts)

    return decorate
