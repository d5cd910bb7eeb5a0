"""Whatever is done to parameters, gradients and state between steps, a step does what torch's
would, or raises before it writes; and memory that is not the optimizer's is never touched."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from optim.moves.client import Client
from optim.moves.faults import TABLE

SEQUENCES = 160  # `python -m optim.moves.search 10000` for more


@pytest.fixture(scope="session")
def apart():
    client = Client()
    yield client
    client.close()


@pytest.mark.parametrize("name", TABLE)
def test_fault(name, apart):
    wrong = apart.wrong(name)
    assert not wrong, wrong


def test_sequences_of_moves_at_random():
    """Each third one again beside pages that end the process if they are touched."""
    path = os.pathsep.join(p for p in sys.path if p)
    done = subprocess.run(
        [sys.executable, "-X", "faulthandler", "-m", "optim.moves.search", str(SEQUENCES)],
        env={**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr[-2000:]
