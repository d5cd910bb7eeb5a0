"""What all tests share."""

from __future__ import annotations

import os

import hypothesis
import torch


def pytest_configure(config):
    # The same examples in every run, and no clock: a push must not fail by chance. To search
    # further, `pytest --hypothesis-profile=default`.
    hypothesis.settings.register_profile("steady", derandomize=True, deadline=None)
    if not config.getoption("--hypothesis-profile", None):
        hypothesis.settings.load_profile("steady")
    if "PYTEST_XDIST_WORKER" in os.environ:
        # One worker per core: threads of torch's would only wait for each other. Tests that are
        # about threads say how many they want.
        torch.set_num_threads(1)
