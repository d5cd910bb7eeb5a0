"""The table of optimizers under test: one row each. Every runner in this folder reads it, so that a
new algorithm is a new row and nothing else."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from itertools import product
from typing import Any

import pytest
import torch
from adabelief_pytorch import AdaBelief
from madgrad import MADGRAD

from reference import schedule_free
from reference.adafactor import Adafactor
from reference.adagrad import DEFAULTS as ADAGRAD_DEFAULTS
from reference.adagrad import adagrad
from reference.adai import Adai
from reference.adan import Adan
from reference.ademamix import DEFAULTS as ADEMAMIX_DEFAULTS
from reference.ademamix import ademamix
from reference.adopt import DEFAULTS as ADOPT_DEFAULTS
from reference.adopt import adopt
from reference.classical_sgd import DEFAULTS, classical_sgd
from reference.double import in_double
from reference.eadam import DEFAULTS as EADAM_DEFAULTS
from reference.eadam import eadam
from reference.lamb import DEFAULTS as LAMB_DEFAULTS
from reference.lamb import lamb
from reference.lion import DEFAULTS as LION_DEFAULTS
from reference.lion import lion
from reference.madgrad import DEFAULTS as MADGRAD_DEFAULTS
from reference.madgrad import madgrad
from reference.muon import Muon
from reference.official import Official
from reference.padam import DEFAULTS as PADAM_DEFAULTS
from reference.padam import padam
from reference.prodigy import Prodigy
from reference.rprop import Rprop
from reference.soap import DEFAULTS as SOAP_DEFAULTS
from reference.soap import soap
from reference.straight import Straight, Unseen
from thalweg import optim
from thalweg.optim.optimizer import RuleOptimizer

ENGINES = ("plain", "fused")


@dataclass(frozen=True, eq=False)
class Row:
    """One algorithm and what it is compared with."""

    name: str
    ours: type[RuleOptimizer]
    theirs: Callable[..., torch.optim.Optimizer]  # (params, **options)
    options: tuple[dict[str, Any], ...]  # what both are run with, again and again
    always: dict[str, Any] = field(default_factory=dict)  # options of ours that make it this row
    interchange: bool = True  # whether theirs reads and writes our checkpoints
    sparse: tuple[dict[str, Any], ...] = ()  # options with which it takes sparse gradients
    moves: int = 1  # the first step that changes the weights
    tolerance: float = 1e-12  # to which float64 runs agree; more where theirs is ill conditioned
    # For rules with matrix words: options whose words are continuous and computed in float32, and
    # how many times they magnify the rounding of their operands (see test_rounding).
    words: tuple[dict[str, Any], float] | None = None

    @property
    def shaped(self) -> set[str]:
        """Keys of the states that have a shape of their own."""
        return {self.ours.rule.state[s] for s in self.ours.rule.shaped}

    def make(self, params: Any, **options: Any) -> RuleOptimizer:
        return self.ours(params, **{**self.always, **options})


def every(**choices: tuple[Any, ...]) -> tuple[dict[str, Any], ...]:
    """All combinations of some options' values."""
    return tuple(dict(zip(choices, c, strict=True)) for c in product(*choices.values()))


def theirs(cls: type[torch.optim.Optimizer]) -> Callable[..., torch.optim.Optimizer]:
    # Tensor by tensor is torch's plainest form, and the one that its other forms are tested with.
    return partial(cls, foreach=False)


WAYS = {"weight_decay": (0.0, 0.07), "maximize": (False, True)}
SGD = (
    *every(lr=(0.03,), momentum=(0.0, 0.9), dampening=(0.0, 0.3), **WAYS),
    *every(lr=(0.03,), momentum=(0.8,), nesterov=(True,), **WAYS),
    {},
)
ADAM = (
    *every(lr=(0.01,), amsgrad=(False, True), **WAYS),
    {"lr": 0.02, "betas": (0.5, 0.8), "eps": 1e-3},
    {"lr": 0.02, "betas": (0.0, 0.9), "weight_decay": 0.1},
    {"lr": 0.02, "betas": (0.9, 0.0), "amsgrad": True},
    {"eps": 0.0},
    {},
)

ADAN = (
    *every(lr=(0.02,), no_prox=(False, True), **WAYS),
    {"lr": 0.02, "betas": (0.5, 0.8, 0.7), "eps": 1e-3},
    {"lr": 0.02, "betas": (0.0, 0.9, 0.9), "weight_decay": 0.1},
    {"lr": 0.02, "betas": (0.9, 0.0, 0.0), "eps": 1e-3},
    *every(lr=(0.02,), restart_radius=(0.5,), weight_decay=(0.0, 0.3), no_prox=(False, True)),
    {"restart_radius": 0.0},
    {"eps": 0.0},
    {},
)

SCHEDULE_FREE = (
    *every(lr=(0.05,), warmup_steps=(0, 7), r=(0.0, 1.5), **WAYS),
    {"lr": 0.0, "weight_decay": 0.1},
    {},
)
SCHEDULE_FREE_ADAM = (
    *SCHEDULE_FREE,
    *every(
        betas=((0.5, 0.8), (0.98, 0.0)), weight_lr_power=(0.0, 1.0), warmup_steps=(20,), eps=(1e-3,)
    ),
    {"eps": 0.0},
)

MADGRAD_OPTIONS = (
    *every(lr=(0.02,), momentum=(0.0, 0.9), decouple_decay=(False, True), **WAYS),
    *every(momentum=(0.0, 0.5), eps=(1e-2,)),
    {"momentum": 0.9, "eps": 0.0},
    *every(lr=(0.0,), momentum=(0.0, 0.9), decouple_decay=(True,), weight_decay=(0.1,)),
    {},
)
# Sides longer than three stay as they are: a factor of higher rank than its first gradient has no
# eigenvectors to compare (test_soap.py has the rest).
SOAP = (
    *every(
        lr=(0.02,),
        eps=(1e-2,),
        max_precond_dim=(3,),
        normalize_grads=(False, True),
        correct_bias=(False, True),
        **WAYS,
    ),
    *every(max_precond_dim=(3,), precondition_frequency=(1, 7), shampoo_beta=(-1, 0.0, 0.7)),
    {
        "lr": 0.02,
        "eps": 1e-2,
        "max_precond_dim": 3,
        "betas": (0.8, 0.9),
        "shampoo_beta": 0.7,
        "weight_decay": 0.1,
        "precondition_frequency": 3,
        "merge_dims": True,
        "data_format": "channels_last",
        "normalize_grads": True,
        "maximize": True,
    },
    {"lr": 0.02, "betas": (0.0, 0.5), "eps": 0.0, "max_precond_dim": 0},
)

TABLE: dict[str, Row] = {
    row.name: row
    for row in (
        Row(
            "sgd",
            optim.SGD,
            theirs(torch.optim.SGD),
            SGD,
            sparse=({}, {"momentum": 0.9}, {"momentum": 0.9, "dampening": 0.2}, {"maximize": True}),
        ),
        Row(
            "sgd-classical",
            optim.SGD,
            partial(Straight, function=classical_sgd, defaults=DEFAULTS),
            SGD,
            always={"convention": "classical"},
            interchange=False,
        ),
        Row(
            "adagrad",
            optim.Adagrad,
            theirs(torch.optim.Adagrad),
            (
                *every(
                    lr=(0.1,), lr_decay=(0.0, 0.05), initial_accumulator_value=(0.0, 0.3), **WAYS
                ),
                {"eps": 1e-3},
                {},
            ),
            sparse=({}, {"lr_decay": 0.1, "eps": 1e-3}, {"initial_accumulator_value": 0.5}),
        ),
        Row(
            "rmsprop",
            optim.RMSprop,
            theirs(torch.optim.RMSprop),
            (
                *every(momentum=(0.0, 0.8), centered=(False, True), **WAYS),
                {"alpha": 0.7, "eps": 1e-3, "momentum": 0.5, "centered": True},
                {"alpha": 0.0},
                {"alpha": 1.0, "eps": 0.1},
                {},
            ),
        ),
        Row(
            "adam",
            optim.Adam,
            theirs(torch.optim.Adam),
            (*ADAM, *every(decoupled_weight_decay=(True,), amsgrad=(False, True), **WAYS)),
        ),
        Row("adamw", optim.AdamW, theirs(torch.optim.AdamW), ADAM),
        Row(
            "adadelta",
            optim.Adadelta,
            theirs(torch.optim.Adadelta),
            (
                *every(rho=(0.9, 0.5), eps=(1e-6, 1e-2), **WAYS),
                {"lr": 0.3, "rho": 0.0},
                {"lr": 2.0, "rho": 1.0, "eps": 1e-3},
                {},
            ),
        ),
        Row(
            "adamax",
            optim.Adamax,
            theirs(torch.optim.Adamax),
            (
                *every(lr=(0.01,), betas=((0.9, 0.999), (0.5, 0.8)), **WAYS),
                {"betas": (0.0, 0.9), "eps": 1e-3, "weight_decay": 0.1},
                {"betas": (0.9, 0.0)},
                {"eps": 0.0},
                {},
            ),
        ),
        Row(
            "asgd",
            optim.ASGD,
            theirs(in_double(torch.optim.ASGD)),
            (
                *every(lr=(0.02,), t0=(1e6, 2.0), lambd=(1e-4, 0.3), **WAYS),
                {"lambd": 0.5, "alpha": 0.3, "t0": 0.0},
                {"lambd": 0.0, "alpha": 2.0},
                {"alpha": 0.0, "t0": 10.5},
                {},
            ),
        ),
        Row(
            "nadam",
            optim.NAdam,
            theirs(in_double(torch.optim.NAdam)),
            (
                *every(lr=(0.01,), decoupled_weight_decay=(False, True), **WAYS),
                *every(momentum_decay=(0.0, 0.2), betas=((0.9, 0.99), (0.0, 0.5)), **WAYS),
                {"betas": (0.5, 0.0), "eps": 1e-3},
                {"eps": 0.0},
                {},
            ),
        ),
        Row(
            "radam",
            optim.RAdam,
            theirs(torch.optim.RAdam),
            (
                *every(lr=(0.01,), decoupled_weight_decay=(False, True), **WAYS),
                {"betas": (0.5, 0.8), "eps": 1e-3, "weight_decay": 0.1},
                {"betas": (0.9, 0.6)},  # never adapts
                {"betas": (0.0, 0.99)},
                {"betas": (0.9, 0.0)},
                {"eps": 0.0},
                {},
            ),
        ),
        Row(
            "rprop",
            optim.Rprop,
            partial(Rprop, foreach=False),
            (
                *every(lr=(0.02,), etas=((0.5, 1.2), (0.3, 1.7)), **WAYS),
                *every(lr=(0.02,), step_sizes=((0.01, 0.03), (0.05, 0.1)), **WAYS),
                {},
            ),
        ),
        Row(
            "lamb",
            optim.LAMB,
            partial(Straight, function=lamb, defaults=LAMB_DEFAULTS),
            (
                *every(
                    lr=(0.02,),
                    adam_w_mode=(False, True),
                    use_nvlamb=(False, True),
                    bias_correction=(False, True),
                    **WAYS,
                ),
                {"betas": (0.5, 0.8), "eps": 1e-3, "grad_averaging": False},
                {"betas": (0.0, 0.9), "weight_decay": 0.1, "grad_averaging": False},
                {"betas": (0.9, 0.0), "use_nvlamb": True},
                {},
            ),
            always={"max_grad_norm": None},
            interchange=False,
        ),
        Row(
            "prodigy",
            optim.Prodigy,
            Prodigy,
            (
                # Gradients that lead ever farther make d grow without end, were it not held back.
                *every(
                    d0=(0.03,),
                    growth_rate=(1.01,),
                    decouple=(False, True),
                    use_bias_correction=(False, True),
                    safeguard_warmup=(False, True),
                    **WAYS,
                ),
                *(
                    {"growth_rate": 1.01, "d0": 1e-3, **o}
                    for o in (
                        {"lr": 0.5, "d_coef": 2.0, "safeguard_warmup": True},
                        {"betas": (0.0, 0.9), "weight_decay": 0.1, "use_bias_correction": True},
                        {"betas": (0.9, 0.0), "beta3": 0.9},
                        {"betas": (0.5, 0.8), "beta3": 0.0, "eps": 1e-3},
                        {"d_coef": 0.0},
                    )
                ),
            ),
            interchange=False,
            # Its d grows by what it is, and torch's root is a rounding off the nearest on some
            # processors (Intel's, where 1.2e-12 was found).
            tolerance=3e-12,
        ),
        Row(
            "padam",
            optim.Padam,
            partial(Straight, function=padam, defaults=PADAM_DEFAULTS),
            (
                *every(lr=(0.05,), amsgrad=(False, True), partial=(0.25, 0.4), **WAYS),
                *every(partial=(0.0, 0.0625, 0.125, 0.5), amsgrad=(False, True)),
                {"betas": (0.5, 0.8), "eps": 1e-3, "partial": 0.3},
                {"betas": (0.0, 0.9), "weight_decay": 0.1},
                {"eps": 0.0},
                {},
            ),
            interchange=False,
        ),
        Row(
            "adai",
            optim.Adai,
            Adai,
            (
                *every(lr=(0.05,), decoupled=(False, True), **WAYS),
                *every(betas=((0.1, 0.99), (0.9, 0.5)), eps=(1e-2, 0.2), weight_decay=(0.0, 0.1)),
                {"betas": (0.0, 0.9)},
                {"betas": (3.0, 0.0)},
                {"eps": 1.0},
                {},
            ),
            interchange=False,
        ),
        Row(
            "adagrad-inside",
            optim.Adagrad,
            partial(Straight, function=adagrad, defaults=ADAGRAD_DEFAULTS),
            (
                *every(
                    lr=(0.1,),
                    lr_decay=(0.0, 0.05),
                    initial_accumulator_value=(0.0, 0.3),
                    eps=(1e-8,),
                    **WAYS,
                ),
                {"eps": 1e-2},
                {},
            ),
            always={"convention": "inside"},
            interchange=False,
            sparse=({}, {"lr_decay": 0.1, "eps": 1e-3}),
        ),
        Row(
            "eadam",
            optim.Adam,
            partial(Straight, function=eadam, defaults=EADAM_DEFAULTS),
            tuple(
                {"eps": 1e-5, **o}  # without it the quotient of a zero gradient is 0 / 0
                for o in (
                    *every(amsgrad=(False, True), decoupled_weight_decay=(False, True), **WAYS),
                    {"lr": 0.02, "betas": (0.5, 0.8), "eps": 1e-2},
                    {"lr": 0.02, "betas": (0.9, 0.0), "amsgrad": True},
                )
            ),
            always={"convention": "eadam"},
            interchange=False,
        ),
        Row(
            "adabelief",
            optim.AdaBelief,
            partial(Official, make=partial(AdaBelief, print_change_log=False)),
            (
                *every(
                    lr=(0.01,),
                    rectify=(False, True),
                    weight_decouple=(False, True),
                    degenerated_to_sgd=(False, True),
                    **WAYS,
                ),
                *every(rectify=(False, True), fixed_decay=(True,), weight_decay=(0.0, 0.02)),
                *every(
                    lr=(0.02,),
                    rectify=(False,),
                    amsgrad=(True,),
                    eps=(1e-8, 0.0),
                    weight_decay=(0.0, 0.02),
                    fixed_decay=(True,),
                    maximize=(True,),
                    betas=((0.8, 0.97),),
                ),
                *every(betas=((0.5, 0.8), (0.0, 0.99), (0.9, 0.6)), eps=(1e-3,), rectify=(True,)),
                {"betas": (0.5, 0.0), "rectify": False, "amsgrad": True, "eps": 1e-3},
                {},
            ),
            interchange=False,
        ),
        Row(
            "madgrad",
            optim.MADGRAD,
            partial(Official, make=MADGRAD),
            MADGRAD_OPTIONS,
            interchange=False,
            sparse=({"momentum": 0.0}, {"momentum": 0.0, "eps": 0.1, "maximize": True}),
        ),
        Row(
            "madgrad-paper",
            optim.MADGRAD,
            partial(Straight, function=madgrad, defaults=MADGRAD_DEFAULTS),
            MADGRAD_OPTIONS,
            always={"convention": "paper"},
            interchange=False,
        ),
        Row("adan", optim.Adan, Adan, ADAN, interchange=False),
        Row(
            "adan-paper",
            optim.Adan,
            partial(Adan, convention="paper"),
            ADAN,
            always={"convention": "paper"},
            interchange=False,
        ),
        Row(
            "adopt",
            optim.ADOPT,
            partial(Straight, function=adopt, defaults=ADOPT_DEFAULTS),
            (
                *every(lr=(0.02,), decouple=(False, True), clip_lambda=(0.25, None), **WAYS),
                {"lr": 0.02, "betas": (0.5, 0.8), "eps": 1e-2, "clip_lambda": 0.0},
                {"lr": 0.02, "betas": (0.0, 0.9), "clip_lambda": 0.5, "weight_decay": 0.1},
                {"betas": (0.9, 0.0)},
                {},
            ),
            interchange=False,
            moves=2,
        ),
        Row(
            "ademamix",
            optim.AdEMAMix,
            partial(Straight, function=ademamix, defaults=ADEMAMIX_DEFAULTS),
            (
                *every(
                    lr=(0.01,),
                    beta3_warmup=(None, 50),
                    alpha_warmup=(None, 30),
                    betas=((0.9, 0.99, 0.9999), (0.0, 0.9, 0.99)),
                    **WAYS,
                ),
                {"alpha": 0.0, "alpha_warmup": 0, "beta3_warmup": 0},
                {"alpha": 8.0, "betas": (0.5, 0.0, 0.0), "eps": 1e-3},
                {"betas": (0.5, 0.9, 0.0), "beta3_warmup": 1000, "alpha_warmup": 2.5},
                {"eps": 0.0},
                {},
            ),
            interchange=False,
        ),
        Row(
            "lion",
            optim.Lion,
            partial(Straight, function=lion, defaults=LION_DEFAULTS),
            (
                *every(lr=(0.01,), betas=((0.9, 0.99), (0.5, 0.0)), **WAYS),
                {"lr": 0.01, "betas": (0.0, 0.9)},
                {},
            ),
            interchange=False,
        ),
        Row(
            "schedule-free-sgd",
            optim.ScheduleFreeSGD,
            partial(Official, make=schedule_free.sgd),
            (
                *SCHEDULE_FREE,
                *every(momentum=(0.5, 0.98), weight_lr_power=(0.0, 1.0), warmup_steps=(20,)),
            ),
            interchange=False,
        ),
        Row(
            "schedule-free-adamw",
            optim.ScheduleFreeAdamW,
            partial(Official, make=schedule_free.adamw),
            SCHEDULE_FREE_ADAM,
            interchange=False,
        ),
        Row(
            "schedule-free-adamw-paper",
            optim.ScheduleFreeAdamW,
            partial(Straight, function=schedule_free.paper, defaults=schedule_free.DEFAULTS),
            SCHEDULE_FREE_ADAM,
            always={"averaging": "lr"},
            interchange=False,
        ),
        Row(
            "schedule-free-radam",
            optim.ScheduleFreeRAdam,
            partial(Official, make=schedule_free.radam),
            (
                *every(lr=(0.05,), silent_sgd_phase=(False, True), r=(0.0, 1.5), **WAYS),
                *every(
                    lr=(0.05,),
                    silent_sgd_phase=(False, True),
                    weight_lr_power=(0.0, 1.0),
                    betas=((0.98, 0.5), (0.5, 0.9)),
                    eps=(1e-3,),
                ),
                # Weights move from the first step on, unlike with a silent phase.
                {
                    "lr": 0.05,
                    "betas": (0.8, 0.97),
                    "eps": 1e-4,
                    "weight_decay": 0.05,
                    "r": 0.5,
                    "weight_lr_power": 1.5,
                    "maximize": True,
                    "silent_sgd_phase": False,
                },
                {"lr": 0.0, "weight_decay": 0.1},
                {"betas": (0.9, 0.0)},
                {},
            ),
            interchange=False,
        ),
        Row(
            "muon",
            optim.Muon,
            Muon,
            (
                *every(lr=(0.02,), nesterov=(False, True), **WAYS),
                {"lr": 0.02, "adjust_lr_fn": "match_rms_adamw", "momentum": 0.8, "ns_steps": 3},
                {"lr": 0.02, "adjust_lr_fn": "original", "momentum": 0.0, "eps": 1e-3},
                {"ns_coefficients": (2.0, -1.5, 0.5), "ns_steps": 8},
                {"lr": 0.02, "convention": "sum", "nesterov": False},
                {"lr": 0.02, "use_muon": False, "adamw_betas": (0.5, 0.8)},
                {
                    "lr": 0.02,
                    "convention": "sum",
                    "adamw_lr_ratio": 0.3,
                    "adamw_betas": (0.8, 0.9),
                    "adamw_eps": 1e-3,
                    "adamw_weight_decay": 0.2,
                    "weight_decay": 0.05,
                    "maximize": True,
                },
                {},
            ),
            # The iteration multiplies small singular values by 3.4 five times.
            words=({"ns_dtype": "float32"}, 500.0),
        ),
        Row(
            "adafactor",
            optim.Adafactor,
            theirs(Adafactor),
            (
                *every(lr=(0.02,), d=(1.0, 1.5), **WAYS),
                {"eps": (1e-3, 0.1), "beta2_decay": -0.5},
                {"eps": (0.0, 0.0), "beta2_decay": -1.0, "lr": 1.0},
                {"lr": 0.05, "eps": (1e-2, 0.5), "weight_decay": 0.1, "d": 2.0, "maximize": True},
                {},
            ),
            words=({}, 4.0),
        ),
        Row(
            "soap",
            optim.SOAP,
            partial(Unseen, function=soap, defaults=SOAP_DEFAULTS),
            SOAP,
            interchange=False,
            moves=2,
            # A basis is as exact as its eigenvalues are far apart.
            tolerance=1e-9,
            words=({"precondition_frequency": 1000}, 32.0),
        ),
    )
}
ROWS = list(TABLE.values())


def cases(rows: list[Row] = ROWS) -> list[Any]:
    """Parameters for pytest: a row and one of its sets of options."""
    return [
        pytest.param(row, options, id=f"{row.name}-{_spelt(options)}")
        for row in rows
        for options in row.options
    ]


def rows(rows: list[Row] = ROWS) -> list[Any]:
    """Parameters for pytest: rows with every state that they can have."""
    return [pytest.param(row, fullest(row), id=row.name) for row in rows]


def fullest(row: Row) -> dict[str, Any]:
    """The set of options with most non-zero values, for tests that one set must do for."""
    return max(row.options, key=lambda o: sum(map(bool, o.values())))


def _spelt(options: dict[str, Any]) -> str:
    # A zero is what every option but eps is by default; alone it is worth a word.
    said = {k: v for k, v in options.items() if v or len(options) == 1}
    return ",".join(f"{k}={v}" for k, v in said.items()) or "defaults"


TORCH = [row for row in ROWS if row.interchange]
every_case = pytest.mark.parametrize(("row", "options"), cases())
every_row = pytest.mark.parametrize(("row", "options"), rows())
torch_case = pytest.mark.parametrize(("row", "options"), cases(TORCH))
torch_row = pytest.mark.parametrize(("row", "options"), rows(TORCH))
every_engine = pytest.mark.parametrize("engine", ENGINES)
