"""What is looked at before a kernel runs, as machine code because it is done at every step.

``look``  whether tensors are where and what they were (or, the first time, record it);
``fit``   whether gradients are laid out as the kernel reads them, and where they are.

A tensor is asked through the C functions that torch exports for code compiled ahead of time (the
``aoti_torch_`` ones): their form is stable, that of a tensor in memory is not.
"""

from __future__ import annotations

import ctypes
import functools
import glob
import os
from collections.abc import Callable, Generator
from contextlib import contextmanager
from enum import IntEnum
from typing import Any

import torch
from llvmlite import ir

from thalweg.engines.kernel import machine
from thalweg.engines.kernel.arguments import BLOCK, integer
from thalweg.engines.kernel.formats import I32, I64
from thalweg.engines.observed import unobserved

# In the order in which they may be asked: the later ones make sense only for the earlier's answers.
FACTS = ("device_type", "layout", "dtype", "dim", "device_index", "storage_offset",
         "storage_size", "data_ptr")  # fmt: skip
GETTERS = (*FACTS, "sizes", "strides", "is_contiguous")


class Look(IntEnum):
    """The arguments of ``look``."""

    COUNT = 0
    OBJECTS = 1  # int64: the addresses of the Python objects
    FACTS = 2  # int64, tensor by tensor: FACTS, then sizes, then strides
    RECORD = 3  # whether to write the facts down, not compare them


class Fit(IntEnum):
    """The arguments of ``fit``."""

    COUNT = 0
    OBJECTS = 1  # int64: the addresses of the gradients' Python objects
    WANTED = 2  # int64, tensor by tensor: Want, then sizes, then strides
    BASES = 3  # int64: where to write the addresses of their elements
    WRITTEN = 4  # how many stretches of memory the kernel writes to
    STARTS = 5  # int64, in order: where they begin
    ENDS = 6  # int64: where they end


class Want(IntEnum):
    """What a gradient must be like."""

    DEVICE = 0  # the first of FACTS
    LAYOUT = 1
    DTYPE = 2
    DIM = 3
    ITEM = 4  # bytes of an element
    BYTES = 5  # in all
    CONTIGUOUS = (
        6  # whether any contiguous gradient will do, whatever the strides of its sides of 1
    )


Function = Callable[[int], int]


@functools.cache
def functions() -> dict[str, Function]:
    """Both by name; none where torch cannot be asked in C."""
    if (ask := _getters()) is None:
        return {}
    module = ir.Module("memory")
    module.triple = machine.triple()
    _print_look(module, ask)
    _print_fit(module, ask)
    library, address = machine.link(str(module), ["look", "fit"], loops=False)
    signature = ctypes.PYFUNCTYPE(ctypes.c_int64, ctypes.c_void_p)  # keeps the GIL: they are short
    found: dict[str, Any] = {name: signature(at) for name, at in address.items()}
    for f in found.values():
        f.keep = library
    return found


def _getters() -> dict[str, int] | None:
    """The addresses of torch's functions, and of what they are given in a Python object as
    ``payload``; None where they are not found."""
    paths = glob.glob(os.path.join(os.path.dirname(torch.__file__), "lib", "*torch_cpu.*"))
    try:
        library = ctypes.CDLL(next(p for p in paths if p.endswith((".so", ".dylib", ".dll"))))
        found = {n: getattr(library, f"aoti_torch_{'' if n.startswith('is') else 'get_'}{n}")
                 for n in GETTERS}  # fmt: skip
        payload = _payload(library)
    except (StopIteration, OSError, AttributeError):
        return None
    if payload is None:
        return None
    addresses = {n: ctypes.cast(f, ctypes.c_void_p).value or 0 for n, f in found.items()}
    return {**addresses, "payload": payload}


def _payload(library: Any) -> int | None:
    """How many bytes into a tensor's Python object its C++ half is found: told by looking for it in
    one whose C++ half is known."""
    with unobserved():
        x = torch.empty(1, device="cpu")
    api = ctypes.pythonapi
    api.PyCapsule_GetPointer.restype = ctypes.c_void_p
    api.PyCapsule_GetPointer.argtypes = [ctypes.py_object, ctypes.c_char_p]
    handle = api.PyCapsule_GetPointer(torch._C._aoti.unsafe_alloc_void_ptr_from_tensor(x), None)
    inner = ctypes.c_void_p.from_address(handle).value
    library.aoti_torch_delete_tensor_object(ctypes.c_void_p(handle))
    words = (object.__basicsize__ + 8 * k for k in range(2))
    return next((k for k in words if ctypes.c_void_p.from_address(id(x) + k).value == inner), None)


class _Asking:
    """Prints questions about one tensor; any other answer than a wanted one leaves the function
    with 0."""

    def __init__(self, f: ir.Function, b: ir.IRBuilder, ask: dict[str, int]) -> None:
        self.b, self.payload = b, ask["payload"]
        kind = ir.ArrayType(I64, len(GETTERS))
        self.functions = ir.GlobalVariable(f.module, kind, f"{f.name}_asks")
        self.functions.initializer = ir.Constant(kind, [ask[n] for n in GETTERS])
        self.functions.global_constant = True
        self.no = f.append_basic_block("no")
        ir.IRBuilder(self.no).ret(integer(0))
        with b.goto_entry_block():
            self.answer = b.alloca(I64)

    def handle(self, objects: ir.Value, i: ir.Value) -> ir.Value:
        return self.b.add(self.b.load(self.b.gep(objects, [i])), integer(self.payload))

    def get(self, which: str | ir.Value, handle: ir.Value) -> ir.Value:
        """Torch's answer as 64 bits; ``which`` of the GETTERS, by name or number."""
        b = self.b
        number = integer(GETTERS.index(which)) if isinstance(which, str) else which
        kind = ir.FunctionType(I32, [I64, BLOCK])
        b.store(integer(0), self.answer)
        address = b.load(b.gep(self.functions, [integer(0), number]))
        failed = b.call(b.inttoptr(address, kind.as_pointer()), [handle, self.answer])
        self.must(b.icmp_signed("==", failed, ir.Constant(I32, 0)))
        return b.load(self.answer)

    def must(self, condition: ir.Value) -> None:
        on = self.b.append_basic_block("on")
        self.b.cbranch(condition, on, self.no)
        self.b.position_at_end(on)

    def same(self, x: ir.Value, y: ir.Value) -> None:
        self.must(self.b.icmp_signed("==", x, y))


def _print_look(module: ir.Module, ask: dict[str, int]) -> None:
    f, b = _function(module, "look")
    count, objects, facts, record = (_argument(f, b, k) for k in Look)
    objects, facts = (b.inttoptr(x, BLOCK) for x in (objects, facts))
    recording = b.icmp_signed("!=", record, integer(0))
    asking = _Asking(f, b, ask)
    with b.goto_entry_block():
        cursor = b.alloca(I64)
    b.store(integer(0), cursor)

    def settle(x: ir.Value) -> None:
        at = b.load(cursor)
        place = b.gep(facts, [at])
        b.store(b.add(at, integer(1)), cursor)
        with b.if_then(recording):
            b.store(x, place)
        asking.same(x, b.load(place))

    with _loop(b, count) as i:
        handle = asking.handle(objects, i)
        with _loop(b, integer(len(FACTS))) as k:
            settle(asking.get(k, handle))
        dim = asking.get("dim", handle)
        with _loop(b, integer(2)) as k:
            which = b.add(k, integer(GETTERS.index("sizes")))
            several = b.inttoptr(asking.get(which, handle), BLOCK)
            with _loop(b, dim) as k:
                settle(b.load(b.gep(several, [k])))
    b.ret(integer(1))


def _print_fit(module: ir.Module, ask: dict[str, int]) -> None:
    f, b = _function(module, "fit")
    count, objects, wanted, bases, stretches, starts, ends = (_argument(f, b, k) for k in Fit)
    objects, wanted, bases, starts, ends = (
        b.inttoptr(x, BLOCK) for x in (objects, wanted, bases, starts, ends)
    )
    asking = _Asking(f, b, ask)
    with b.goto_entry_block():
        cursor, low, high = (b.alloca(I64) for _ in range(3))
    b.store(integer(0), cursor)
    with _loop(b, count) as i:
        handle = asking.handle(objects, i)
        mine = b.gep(wanted, [b.load(cursor)])

        def want(k: int | ir.Value, mine: ir.Value = mine) -> ir.Value:
            return b.load(b.gep(mine, [integer(k) if isinstance(k, int) else k]))

        with _loop(b, integer(Want.DIM + 1)) as k:
            asking.same(asking.get(k, handle), want(k))
        dim = want(Want.DIM)
        any_order = b.and_(asking.get("is_contiguous", handle), want(Want.CONTIGUOUS))
        # Sizes, and strides where they matter.
        several = b.select(b.icmp_signed("!=", any_order, integer(0)), integer(1), integer(2))
        with _loop(b, several) as which:
            number = b.add(which, integer(GETTERS.index("sizes")))
            found = b.inttoptr(asking.get(number, handle), BLOCK)
            first = b.add(b.mul(which, dim), integer(len(Want)))
            with _loop(b, dim) as k:
                asking.same(b.load(b.gep(found, [k])), want(b.add(first, k)))
        size = want(Want.BYTES)
        offset = b.mul(asking.get("storage_offset", handle), want(Want.ITEM))
        room = asking.get("storage_size", handle)
        asking.must(b.icmp_signed("<=", b.add(offset, size), room))
        start = asking.get("data_ptr", handle)
        some = b.icmp_signed("!=", start, integer(0))  # a storage may have a size and no memory
        asking.must(b.or_(some, b.icmp_signed("==", size, integer(0))))
        b.store(start, b.gep(bases, [i]))
        # The first stretch that ends behind its beginning must begin behind its end.
        b.store(integer(0), low)
        b.store(stretches, high)
        with _while(b, lambda: b.icmp_signed("<", b.load(low), b.load(high))):
            middle = b.lshr(b.add(b.load(low), b.load(high)), integer(1))
            before = b.icmp_unsigned("<=", b.load(b.gep(ends, [middle])), start)
            b.store(b.select(before, b.add(middle, integer(1)), b.load(low)), low)
            b.store(b.select(before, b.load(high), middle), high)
        with b.if_then(b.icmp_signed("<", b.load(low), stretches)):
            begins = b.load(b.gep(starts, [b.load(low)]))
            asking.must(b.icmp_unsigned(">=", begins, b.add(start, size)))
        length = b.add(integer(len(Want)), b.add(dim, dim))
        b.store(b.add(b.load(cursor), length), cursor)
    b.ret(integer(1))


def _function(module: ir.Module, name: str) -> tuple[ir.Function, ir.IRBuilder]:
    f = ir.Function(module, ir.FunctionType(I64, [BLOCK]), name)
    entry = f.append_basic_block("entry")
    b = ir.IRBuilder(f.append_basic_block("start"))
    ir.IRBuilder(entry).branch(b.block)
    return f, b


def _argument(f: ir.Function, b: ir.IRBuilder, which: int) -> ir.Value:
    return b.load(b.gep(f.args[0], [integer(which)]))


@contextmanager
def _while(b: ir.IRBuilder, condition: Callable[[], ir.Value]) -> Generator[None]:
    """The body of a loop; leaves the builder behind it."""
    head, body, done = (b.append_basic_block(x) for x in ("head", "body", "done"))
    b.branch(head)
    b.position_at_end(head)
    b.cbranch(condition(), body, done)
    b.position_at_end(body)
    yield
    b.branch(head)
    b.position_at_end(done)


@contextmanager
def _loop(b: ir.IRBuilder, n: ir.Value) -> Generator[ir.Value]:
    """The body for i in 0 .. n-1; leaves the builder behind it."""
    with b.goto_entry_block():
        place = b.alloca(I64)
    b.store(integer(0), place)
    with _while(b, lambda: b.icmp_signed("<", b.load(place), n)):
        i = b.load(place)
        yield i
        b.store(b.add(i, integer(1)), place)
