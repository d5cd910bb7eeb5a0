"""Memory that shows who has written where: tensors between canary bytes, or against a page that
nobody may touch, and a watch over whole storages."""

from __future__ import annotations

import ctypes
import mmap

import torch

PAD = 2048  # bytes of canary on either side
CANARY = 0xA5
PAGE = mmap.PAGESIZE
WAYS = ("canary", "before a forbidden page", "behind a forbidden page")
KEPT = 48  # storages that nobody uses any more are watched until so many newer ones have come

_mprotect = ctypes.CDLL(None, use_errno=True).mprotect
_mprotect.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)


def extent(x):
    """Elements from a tensor's first to its last place in memory."""
    if x.numel() == 0:
        return 0
    return 1 + sum((n - 1) * s for n, s in zip(x.shape, x.stride(), strict=True))


def readable(x):
    """Whether all elements of a strided tensor have memory."""
    if x.device.type != "cpu" or x.layout is not torch.strided:
        return False
    end = (x.storage_offset() + extent(x)) * x.itemsize
    return x.numel() == 0 or x.untyped_storage().nbytes() >= end


def overlaps_itself(x):
    return torch._debug_has_internal_overlap(x) == 1


def _pages(size, behind):
    """A tensor of bytes whose memory ends (or begins) where a forbidden page begins (or ends)."""
    pages = max(1, -(-size // PAGE))
    buffer = mmap.mmap(-1, (pages + 1) * PAGE)
    address = ctypes.addressof(ctypes.c_char.from_buffer(buffer))
    if _mprotect(address if behind else address + pages * PAGE, PAGE, 0):
        raise OSError(ctypes.get_errno(), "mprotect")
    return torch.frombuffer(
        buffer, dtype=torch.uint8, offset=PAGE if behind else 0, count=pages * PAGE
    )


def home(x, way="canary"):
    """A copy of a tensor with its strides, in memory of its own that is guarded in this way."""
    x = x.detach().resolve_conj().resolve_neg()
    size = extent(x) * x.itemsize
    if way == "canary":
        whole, start = torch.empty(-(-size // 16) * 16 + 2 * PAD, dtype=torch.uint8), PAD
    else:
        behind = way.startswith("behind")
        whole = _pages(size, behind)
        start = 0 if behind else whole.numel() - size
    whole.fill_(CANARY)
    y = torch.empty(0, dtype=x.dtype).set_(
        whole.untyped_storage(), start // x.itemsize, x.shape, x.stride()
    )
    if overlaps_itself(x):
        flat = (extent(x),), (1,)
        y.as_strided(*flat).copy_(x.as_strided(*flat))
    else:
        y.copy_(x)
    return y


def release(x):
    """Free a tensor's memory, as sharding code does between uses; returns what ``regain`` needs."""
    storage = x.untyped_storage()
    if storage.is_shared():
        raise RuntimeError("a mapped file cannot be made larger again")
    kept = torch.empty(0, dtype=torch.uint8).set_(storage).clone()
    storage.resize_(0)
    return kept


def regain(x, kept):
    storage = x.untyped_storage()
    storage.resize_(kept.numel())
    torch.empty(0, dtype=torch.uint8).set_(storage).copy_(kept)


def _bytes(storage):
    return torch.empty(0, dtype=torch.uint8).set_(storage)


class Watch:
    """All storages that were ever handed to an optimizer, and their bytes before a step."""

    def __init__(self):
        self.storages, self.before = {}, {}

    def look(self, tensors):
        """Remember all bytes; ``tensors`` are those in use."""
        for x in tensors:
            storage = x.untyped_storage()
            self.storages.pop(storage._cdata, None)
            self.storages[storage._cdata] = storage
        for old in list(self.storages)[:-KEPT]:
            del self.storages[old]
        self.before = {
            k: _bytes(s).clone()
            for k, s in self.storages.items()
            if s.nbytes() and s.device.type == "cpu"
        }

    def changed(self, writable):
        """Bytes that have changed and belong to none of these tensors, as a sentence, or None."""
        own = {}
        for x in writable:
            if not readable(x):
                continue
            storage = x.untyped_storage()
            if storage._cdata not in own:
                own[storage._cdata] = torch.zeros(storage.nbytes(), dtype=torch.bool)
            mask = own[storage._cdata]
            n = x.itemsize
            words = mask[: mask.numel() // n * n].view(-1, n)
            shape, stride = (x.shape, x.stride())
            if overlaps_itself(x):
                shape, stride = (extent(x),), (1,)
            words.as_strided(
                (*shape, n), (*(s * n for s in stride), 1), x.storage_offset() * n
            ).fill_(True)
        for key, before in self.before.items():
            storage = self.storages[key]
            if storage.nbytes() != before.numel():
                return f"a storage of {before.numel()} bytes has {storage.nbytes()} now"
            off = _bytes(storage) != before
            if key in own:
                off &= ~own[key]
            if off.any():
                where = off.nonzero().flatten()
                return (
                    f"{len(where)} bytes changed that are not to be written, from {int(where[0])} "
                    f"to {int(where[-1])} of {before.numel()}"
                )
        return None
