"""Forks for tests: a process that has never used a thread makes them, and says how they ended."""

from __future__ import annotations

import os
import subprocess
import sys


class Client:
    """Runs faults by name."""

    def __init__(self):
        path = os.pathsep.join(p for p in sys.path if p)
        self.process = subprocess.Popen(
            [sys.executable, "-m", "optim.moves.faults"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1"},
        )

    def wrong(self, name):
        """What is wrong, or an empty line."""
        self.process.stdin.write(name + "\n")
        self.process.stdin.flush()
        said = self.process.stdout.readline()
        assert said, "the process that forks has ended"
        return said.strip()

    def close(self):
        self.process.stdin.close()
        self.process.wait(10)
        self.process.stdout.close()
