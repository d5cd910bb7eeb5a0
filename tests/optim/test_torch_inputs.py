"""docs/torch-differences.md lists exactly what differs over the inputs of torch's own tests."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from optim.torch_inputs import database, differences
from thalweg import optim
from thalweg.optim.optimizer import RuleOptimizer

PAGE = Path(__file__).parents[2] / "docs" / "torch-differences.md"
NAMES = [n for n in torch.optim.__all__ if isinstance(getattr(optim, n), type)]
NAMES = [n for n in NAMES if issubclass(getattr(optim, n), RuleOptimizer)]


def listed(name):
    """What the page's first table says of a class."""
    lines = PAGE.read_text().split("\n\n")  # the first table is a paragraph
    table = next(x for x in lines if x.startswith("| what | classes |")).splitlines()[2:]
    rows = [row.strip("| ").split(" | ") for row in table]
    assert all(len(row) == 4 for row in rows)
    return {what for what, classes, *_ in rows if classes == "all" or name in classes.split(", ")}


@pytest.mark.parametrize("name", NAMES)
def test_what_differs_is_what_the_page_lists(name):
    assert differences(name) == listed(name)


def test_all_of_torchs_classes_that_we_have_are_compared():
    assert {*NAMES} == {*database()} - {"LBFGS", "SparseAdam"}
