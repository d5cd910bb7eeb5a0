"""Learning-rate schedules: pure functions of the step, and what drives an optimizer with them."""
