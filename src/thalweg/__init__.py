"""Gradient descent for PyTorch: from the update rule on paper to the fused kernel."""
