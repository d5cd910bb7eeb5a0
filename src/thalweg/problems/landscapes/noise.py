"""What a mini-batch does to a gradient, without a data set: seeded noise."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor


@dataclass(frozen=True)
class GradientNoise:
    """Normal noise of mean zero, as the mean over a mini-batch has it by the central limit theorem.

    ``noise(gradient, step, seed)`` is the gradient as seen at a step. It depends on nothing else
    (Philox's counter is the step, its key the seed): all optimizers meet the same noise, and a run
    may be taken up in the middle.

    scale: standard deviation of one sample's gradient, in each coordinate, at least 0.
    batch: samples in a mini-batch, at least 1; the deviation is ``scale / sqrt(batch)``.
    """

    scale: float
    batch: int = 1

    def __post_init__(self) -> None:
        if not 0 <= self.scale < math.inf:
            raise ValueError(f"scale must be finite and at least 0, got {self.scale}")
        if self.batch < 1 or self.batch % 1:
            raise ValueError(f"batch must be a whole number of at least 1, got {self.batch}")

    def __call__(self, gradient: Tensor, step: int, seed: int) -> Tensor:
        """The gradient (of any shape, dtype and device kept) with noise; step and seed are whole
        numbers from 0 to below 2^63."""
        for name, value in (("step", step), ("seed", seed)):
            if not 0 <= value < 2**63:
                raise ValueError(f"{name} must be from 0 to below 2^63, got {value}")
        # The counter's low word is left to count the numbers of one step.
        stream = np.random.Generator(np.random.Philox(key=seed, counter=step << 64))
        noise = torch.from_numpy(stream.standard_normal(tuple(gradient.shape)))
        return gradient + self.scale / math.sqrt(self.batch) * noise.to(gradient)
