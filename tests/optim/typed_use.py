"""What a type checker says of calls, for ``make types``: an error that is expected is ignored by
its code, and an ignored error that is not there is one."""

import torch

from thalweg import optim

params = [torch.zeros(2, requires_grad=True)]
optim.AdamW(params, 1e-3, (0.9, 0.99), eps=1e-8, engine="fused", convention="eadam")
optim.SGD(params, 0.1, 0.9, nesterov="lookahead", bounds=(0, None))
optim.ScheduleFreeAdamW(params, model=None, averaging="lr")
optim.LAMB(params, max_grad_norm=None)
optim.Prodigy(params, slice_p=1)
optim.SGD()  # type: ignore[call-arg]
optim.AdamW(params, rate=1.0)  # type: ignore[call-arg]
optim.AdamW(params, decoupled_weight_decay=False)  # type: ignore[call-arg]
optim.AdamW(params, betas=0.9)  # type: ignore[arg-type]
optim.AdamW(params, engine="fussed")  # type: ignore[arg-type]
