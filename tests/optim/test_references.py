"""Each optimizer against torch's, or a straight-line version, over 200 steps in float64."""

from __future__ import annotations

from optim.table import every_case, every_engine
from optim.training import Close, gradients, step, tensors

STEPS = 200
SHAPES = ((), (3, 7))


@every_engine
@every_case
def test_equals_its_reference(row, options, engine):
    ours = row.make(tensors(shapes=SHAPES), engine=engine, **options)
    theirs = row.theirs(tensors(shapes=SHAPES), **options)
    close = Close(row.tolerance)
    for i, grads in enumerate(gradients(STEPS, shapes=SHAPES)):
        step(ours, grads)
        step(theirs, grads)
        if i < 3 or i % 10 == 9:
            close(ours, theirs)
