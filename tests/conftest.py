"""What all tests share."""

from __future__ import annotations

import os

import torch


def pytest_configure(config):
    del config
    if "PYTEST_XDIST_WORKER" in os.environ:
        # One worker per core: threads of torch's would only wait for each other. Tests that are
        # about threads say how many they want.
        torch.set_num_threads(1)
