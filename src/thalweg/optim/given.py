"""What an optimizer is given: parameters and groups, before torch takes them."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterable, Iterator, Mapping
from inspect import GEN_CLOSED, getgeneratorstate, isgenerator
from numbers import Integral, Real
from typing import Any

import numpy as np
from torch import Tensor, nn

# What people call options elsewhere.
ALIASES = {
    "lr": ("learning_rate", "learningrate", "lrate", "rate"),
    "weight_decay": ("wd", "decay", "weightdecay", "l2"),
    "betas": ("beta", "beta1", "beta2"),
    "eps": ("epsilon",),
    "max_grad_norm": ("max_norm", "clip_norm", "grad_clip", "clip_grad_norm"),
}
# What torch's schedulers write into groups, and options that look like another optimizer's:
# whoever builds groups from an old optimizer's gives them.
KEPT = ("initial_lr", "max_lr", "min_lr", "swa_lr", "initial_momentum", "base_momentum",
        "max_momentum", "min_momentum", "betas", "etas")  # fmt: skip
USED_UP = (
    "optimizer got an empty parameter list: an iterator, such as model.parameters(), gives its "
    "parameters once; call it again, or keep list(model.parameters())"
)
NEAR = 0.85  # weight_dacay is nearer to weight_decay than this, weight_decay_scale is not


def check_params(params: Any, cls: str) -> Any:
    """Parameters as torch takes them; raises where something else was probably meant."""
    if isinstance(params, nn.Module) and not isinstance(params, nn.ParameterList):
        raise TypeError(
            f"params must be tensors or groups, not a model: write {cls}(model.parameters())"
        )
    if isinstance(params, Mapping):
        hint = (
            f"one group: write {cls}([group])" if "params" in params
            else f"a state dict: write {cls}(model.parameters())"
        )  # fmt: skip
        raise TypeError(f"params must be tensors or groups in a list; this looks like {hint}")
    if callable(params) and not isinstance(params, Iterable):
        called = getattr(params, "__name__", "it")
        raise TypeError(
            f"params is a function, not what it gives: write {cls}(model.{called}()), with "
            "parentheses"
        )
    if isinstance(params, Iterator):
        params = list(params)
        if not params:
            raise ValueError(USED_UP)
    return params


def check_group(group: Any, known: Iterable[str], cls: str) -> None:
    """Raise for a group without parameters, and for a key that is nearly an option. Other keys
    that are no options are kept as they are: names, or factors that a schedule reads."""
    if not isinstance(group, dict):
        return  # torch says it
    if "params" not in group:
        raise ValueError(f"a group needs its parameters under 'params'; it has {[*group]}")
    params = group["params"]
    if isinstance(params, nn.Module) or callable(params):
        check_params(params, cls)
    # Others that are empty may be meant so: the parameters of a kind, of which there are none.
    if isgenerator(params) and getgeneratorstate(params) == GEN_CLOSED:
        raise ValueError(USED_UP)
    known = {*known, "params", "param_names"}
    for name in group:
        if name in known or name in KEPT or not isinstance(name, str):
            continue
        if found := _meant(name, known, NEAR):
            raise TypeError(f"{cls} has no option {name!r}, in a group; did you mean {found[0]!r}?")


def unknown(name: str, known: Iterable[str], cls: str) -> TypeError:
    """The error for an option that the constructor does not have."""
    found = _meant(name, [*known], 0.6)
    hint = f"; did you mean {found[0]!r}?" if found else ""
    return TypeError(f"{cls} has no option {name!r}{hint}")


def _meant(name: str, known: Collection[str], near: float) -> list[str]:
    aliases = [k for k, names in ALIASES.items() if name.lower() in names and k in known]
    return aliases + difflib.get_close_matches(name.lower(), known, 1, near)


def idle(p: Tensor) -> bool:
    """Whether this is a frozen, quantized weight of a model whose parameters are given all
    together: it never has a gradient. A bare tensor of whole numbers was meant otherwise."""
    whole = not (p.is_floating_point() or p.is_complex())
    return whole and isinstance(p, nn.Parameter) and not p.requires_grad


def plain(x: Any) -> Any:
    """A number of NumPy's, or of another kind that no checkpoint could be read with safely, as
    Python's; several of them one by one; anything else as it is."""
    if isinstance(x, np.generic) or (isinstance(x, np.ndarray) and x.size == 1):
        return x.item()
    if type(x) in (tuple, list):
        return type(x)(map(plain, x))
    if type(x) in (bool, int, float):
        return x
    if isinstance(x, Integral):
        return int(x)
    return float(x) if isinstance(x, Real) else x


def plain_options(group: Mapping[str, Any]) -> dict[str, Any]:
    """A group's options, their numbers Python's."""
    return {k: plain(x) for k, x in group.items() if k not in ("params", "param_names")}
