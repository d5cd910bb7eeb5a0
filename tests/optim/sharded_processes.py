"""What test_sharded.py runs in two processes. Each check gives back what it has found, or what has
been raised; all are run in one pair, as starting processes takes longer than everything else."""

from __future__ import annotations

import pickle
import sys
import warnings

import torch
import torch.distributed as dist
from torch import nn

from thalweg import optim
from thalweg.optim.registry import ALGORITHMS

warnings.simplefilter("ignore")  # torch's own, about what it will remove


def model():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(7, 5), nn.ReLU(), nn.Linear(5, 3))


def feed(m, seed, rank=0, parts=1):
    g = torch.Generator().manual_seed(seed)
    x, y = torch.randn(8, 7, generator=g), torch.randn(8, 3, generator=g)
    ((m(x.chunk(parts)[rank]) - y.chunk(parts)[rank]) ** 2).mean().backward()


def fsdp2(m):
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard

    mesh = init_device_mesh("cpu", (2,))
    for part in (m[0], m[2], m):
        fully_shard(part, mesh=mesh)
    return m


def fsdp1(m, original):
    from torch.distributed.fsdp import FullyShardedDataParallel

    return FullyShardedDataParallel(m, use_orig_params=original, device_id=torch.device("cpu"))


def fsdp1_flat(m):
    return fsdp1(m, False)


def fsdp1_original(m):
    return fsdp1(m, True)


def ddp(m):
    return nn.parallel.DistributedDataParallel(m)


def replicated(m):
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.tensor import DTensor, Replicate, distribute_module

    def inside(_, inputs, mesh):
        return tuple(DTensor.from_local(x, mesh, [Replicate()]) for x in inputs)

    mesh = init_device_mesh("cpu", (2,))
    return distribute_module(m, mesh, None, inside, lambda _, y, mesh: y.to_local())


def partial(m):
    """Whole parameters, whose gradients are sums over the processes that have not been taken."""
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.tensor import DTensor, Shard, distribute_module

    def inside(_, inputs, mesh):
        return tuple(DTensor.from_local(x, mesh, [Shard(0)]) for x in inputs)

    def outside(_, y, mesh):
        y = y.to_local()
        y.register_hook(lambda g: g / 2)  # of two means
        return y

    return distribute_module(m, init_device_mesh("cpu", (2,)), None, inside, outside)


def zero(cls):
    def make(params, **options):
        from torch.distributed.optim import ZeroRedundancyOptimizer

        return ZeroRedundancyOptimizer(params, optimizer_class=cls, **options)

    return make


WRAPPED = {
    "fsdp2": fsdp2,
    "fsdp1": fsdp1_flat,
    "fsdp1, original parameters": fsdp1_original,
    "ddp": ddp,
    "zero": ddp,
    "replicated": replicated,
    "partial gradients": partial,
}


def weights(m):
    full = [p.full_tensor() if hasattr(p, "full_tensor") else p for p in m.parameters()]
    return torch.cat([p.detach().flatten() for p in full])


def everything(m):
    from torch.distributed.fsdp import FullyShardedDataParallel

    if isinstance(m, FullyShardedDataParallel):
        with FullyShardedDataParallel.summon_full_params(m):
            return weights(m)[: weights(model()).numel()].clone()  # without the padding
    return weights(m)


def run(kind, name, rank, options):
    """How far weights are from those of an unsharded run after a few steps."""
    algorithm = ALGORITHMS[name]
    options = {"lr": algorithm.lr, **algorithm.options, **options}
    alone, shared = model(), WRAPPED[kind](model())
    make = zero(algorithm.optimizer) if kind == "zero" else algorithm.optimizer
    a, b = algorithm.optimizer(alone.parameters(), **options), make(shared.parameters(), **options)
    for seed in range(2):
        for o, m, *part in ((a, alone), (b, shared, rank, 2)):

            def closure(o=o, m=m, part=part, seed=seed):
                o.zero_grad()
                feed(m, seed, *(part if kind != "replicated" else ()))
                return 1.0

            if name == "sam":
                o.step(closure)
            else:
                closure()
                o.step()
    return float((everything(shared) - weights(alone)).abs().max())


def late(kind, rank, **options):
    """Options that come after construction: what is raised, and whether anything was written."""
    m = WRAPPED[kind](model())
    make = zero(optim.AdamW) if kind == "zero" else optim.AdamW
    o = make(m.parameters())
    feed(m, 0, rank, 2)
    o.step()
    before = everything(m)
    for group in o.param_groups:
        group.update(options)
    try:
        o.step()
    except ValueError as e:
        return str(e), bool(torch.equal(before, everything(m)))
    return "", False


def unseen(kind, rank):
    """Whether both processes see a NaN that one of them has."""
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.tensor import Replicate, Shard, distribute_tensor

    mesh, bad = init_device_mesh("cpu", (2,)), torch.ones(4)
    bad[3] = torch.nan
    p = nn.Parameter(distribute_tensor(torch.ones(4), mesh, [Replicate()]))
    o = optim.AdamW([p], check_finite=True)
    p.grad = distribute_tensor(bad, mesh, [Shard(0)])
    o.step()


def main(rank, path, found):
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{path}", rank=rank, world_size=2)
    answers = {}
    with open(f"{path}.asked", "rb") as f:
        asked = pickle.load(f)
    for kind, name, options in asked:
        key = kind, name, repr(options)
        try:
            if name == "late":
                answers[key] = late(kind, rank, **options)
            elif name == "unseen":
                answers[key] = unseen(kind, rank)
            else:
                answers[key] = run(kind, name, rank, options)
        except Exception as e:
            answers[key] = f"{type(e).__name__}: {e}"
    with open(f"{found}{rank}", "wb") as f:
        pickle.dump(answers, f)
    dist.destroy_process_group()


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2], sys.argv[3])
