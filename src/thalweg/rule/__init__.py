"""What an update rule is, and the words it may speak."""

from thalweg.rule.modifiers import (
    clip_global_norm,
    decoupled_decay,
    either,
    l2_decay,
    maximize,
)
from thalweg.rule.rule import Rule, rule
from thalweg.rule.words import maximum, mean, minimum, norm, sign, sqrt, total, where

__all__ = [
    "Rule",
    "clip_global_norm",
    "decoupled_decay",
    "either",
    "l2_decay",
    "maximize",
    "maximum",
    "mean",
    "minimum",
    "norm",
    "rule",
    "sign",
    "sqrt",
    "total",
    "where",
]
