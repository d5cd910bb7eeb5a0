"""Parameters that are sharded over processes: elementwise rules are right, all else is refused."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from thalweg import optim
from thalweg.optim.registry import ALGORITHMS

SUMS = ("adai", "lamb", "prodigy", "sam")  # over a tensor or over all of them
SHAPED = ("adafactor", "soap")
FSDP1 = ("fsdp1", "fsdp1, original parameters")
CLIPPED, CAUTIOUS, CHECKED = {"max_grad_norm": 1.0}, {"cautious": True}, {"check_finite": True}
ELEMENTWISE = [n for n in ALGORITHMS if n not in (*SUMS, *SHAPED, "muon", "adan")]

RIGHT = [
    *(("fsdp2", name, {}) for name in (*ELEMENTWISE, "adan")),
    ("fsdp2", "muon", {"ns_dtype": "float32"}),
    *((kind, name, {}) for kind in FSDP1 for name in ("adamw", "lion", "schedule-free-adamw")),
    *(("zero", name, {}) for name in ("adamw", "muon", "adafactor")),
    ("zero", "lamb", {"max_grad_norm": None}),
    ("zero", "adamw", CAUTIOUS),
    *(("ddp", name, {}) for name in ("adamw", "sam", "lamb", "adai")),
    *(("ddp", "adamw", options) for options in (CLIPPED, CAUTIOUS, CHECKED)),
    *(("replicated", name, {}) for name in ("adamw", "lamb", "adai", "sam")),
    *(
        (kind, "adamw", options)
        for kind in ("replicated", "partial gradients")
        for options in (CLIPPED, CAUTIOUS, CHECKED)
    ),
]
# What must be raised, and what must be in the message.
REFUSED = [
    *(("fsdp2", name, {}, "elementwise one") for name in (*SUMS, *SHAPED) if name != "lamb"),
    ("fsdp2", "lamb", {}, "LAMB cannot step"),
    *((kind, name, {}, "elementwise one") for kind in FSDP1 for name in ("muon", *SUMS, *SHAPED)),
    *(("zero", name, {}, "elementwise one") for name in ("adai", "prodigy", "sam")),
    ("zero", "lamb", {}, "max_grad_norm=1.0 of LAMB"),
    *(
        (kind, "adamw", options, word)
        for kind in ("fsdp2", *FSDP1)
        for options, word in ((CLIPPED, "clip_grad_norm_"), (CAUTIOUS, "cautious=True"))
    ),
    *((kind, "adamw", CHECKED, "check_finite=True") for kind in ("fsdp2", *FSDP1, "zero")),
    ("zero", "adamw", CLIPPED, "clip_grad_norm_"),
    *(("replicated", name, {}, "elementwise one") for name in SHAPED),
    ("a NaN that one process has", "unseen", {}, "NaN"),
]
LATE = [
    (kind, "late", options)
    for kind in ("fsdp2", "fsdp1", "zero")
    for options in (CLIPPED, CHECKED, *((CAUTIOUS,) if kind != "zero" else ()))
]


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    """What both processes say to everything."""
    folder = tmp_path_factory.mktemp("processes")
    asked = [*RIGHT, *(r[:3] for r in REFUSED), *LATE]
    (folder / "meeting.asked").write_bytes(pickle.dumps(asked))
    script = Path(__file__).with_name("sharded_processes.py")
    both = [
        subprocess.Popen(
            [sys.executable, script, str(rank), folder / "meeting", folder / "found"],
            env={**os.environ, "OMP_NUM_THREADS": "1"},
            stderr=subprocess.PIPE,
        )
        for rank in range(2)
    ]
    errors = [p.communicate(timeout=300)[1].decode() for p in both]
    assert [p.returncode for p in both] == [0, 0], "\n".join(errors)
    return [pickle.loads((folder / f"found{rank}").read_bytes()) for rank in range(2)]


@pytest.mark.parametrize(("kind", "name", "options"), RIGHT)
def test_what_needs_only_what_is_here_equals_the_run_of_one_process(found, kind, name, options):
    for answers in found:
        assert answers[kind, name, repr(options)] == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize(("kind", "name", "options", "word"), REFUSED)
def test_what_needs_more_is_refused_with_its_reason(found, kind, name, options, word):
    one, two = (answers[kind, name, repr(options)] for answers in found)
    assert str(one).startswith("ValueError: ")
    assert word in one
    assert "parameter" in one
    assert one[:40] == two[:40]  # the processes may have other shapes of it


@pytest.mark.parametrize(("kind", "name", "options"), LATE)
def test_options_that_come_later_are_refused_before_a_write(found, kind, name, options):
    for answers in found:
        message, unchanged = answers[kind, name, repr(options)]
        assert next(iter(options)) in message
        assert unchanged


class Here:
    """What stands for a parameter of another worker, on that worker."""

    def __init__(self, p):
        self.p = p

    def local_value(self):
        return self.p


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_the_workers_of_torchs_distributed_optimizer_have_some_of_the_parameters():
    from torch.distributed.optim.optimizer import _LocalOptimizer

    here = [Here(torch.ones(3, requires_grad=True))]
    assert _LocalOptimizer(optim.AdamW, here).optim.param_groups
    with pytest.raises(ValueError, match=r"max_grad_norm=1.0 of AdamW .* DistributedOptimizer"):
        _LocalOptimizer(optim.AdamW, here, max_grad_norm=1.0)
    optim.AdamW([here[0].p], max_grad_norm=1.0)  # nobody's worker
