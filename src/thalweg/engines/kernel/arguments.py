"""The argument block as kernels read it."""

from __future__ import annotations

from llvmlite import ir

from thalweg.engines.block import Arguments
from thalweg.engines.kernel.formats import I64

VOID, BLOCK = ir.VoidType(), I64.as_pointer()


class Block:
    """Reads the argument block."""

    def __init__(self, builder: ir.IRBuilder, block: ir.Value) -> None:
        self.b, self.block = builder, block

    def place(self, which: Arguments) -> ir.Value:
        return self.b.gep(self.block, [integer(which)])

    def number(self, which: Arguments) -> ir.Value:
        return self.b.load(self.place(which))

    def pointer(self, which: Arguments, to: ir.Type) -> ir.Value:
        return self.b.inttoptr(self.number(which), to.as_pointer())


def integer(value: int) -> ir.Constant:
    return ir.Constant(I64, int(value))
