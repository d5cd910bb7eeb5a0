"""The fair comparison: plan, run, store, verdict, a file each."""

from thalweg.lab.plan import Plan, Trial, plan
from thalweg.lab.race import race
from thalweg.lab.verdict import Verdict, verdict

__all__ = ["Plan", "Trial", "Verdict", "plan", "race", "verdict"]
