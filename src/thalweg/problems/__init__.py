"""What is minimised."""

from thalweg.problems.problem import PROBLEMS, Problem, Task

__all__ = ["PROBLEMS", "Problem", "Task"]
