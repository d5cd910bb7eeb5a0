"""What an update rule is, and the words it may speak."""

from thalweg.rule.modifiers import (
    bounded,
    cautious,
    clip_global_norm,
    decoupled_decay,
    either,
    l2_decay,
    maximize,
    told,
)
from thalweg.rule.rule import Rule, rule
from thalweg.rule.words import (
    cbrt,
    exp,
    log,
    matrix,
    maximum,
    mean,
    minimum,
    norm,
    shaped,
    sign,
    sqrt,
    total,
    where,
)

__all__ = [
    "Rule",
    "bounded",
    "cautious",
    "cbrt",
    "clip_global_norm",
    "decoupled_decay",
    "either",
    "exp",
    "l2_decay",
    "log",
    "matrix",
    "maximize",
    "maximum",
    "mean",
    "minimum",
    "norm",
    "rule",
    "shaped",
    "sign",
    "sqrt",
    "told",
    "total",
    "where",
]
