"""How numbers are stored: formats, and their way to and from the width that is computed in."""

from __future__ import annotations

from llvmlite import ir

from thalweg.engines.rounding import FACTOR, LARGEST, MIXES, SPREAD

FLOAT, DOUBLE, HALF = ir.FloatType(), ir.DoubleType(), ir.HalfType()
I1, I16, I32, I64 = ir.IntType(1), ir.IntType(16), ir.IntType(32), ir.IntType(64)
STORED = {
    "float32": (FLOAT, 4),
    "float64": (DOUBLE, 8),
    "bfloat16": (I16, 2),
    "bfloat16 at random": (I16, 2),  # as it is rounded: see engines.rounding
    "float16": (HALF, 2),
}


def at_random(stored: str) -> bool:
    return stored.endswith(" at random")


def widen(b: ir.IRBuilder, x: ir.Value, stored: str, wide: ir.Type) -> ir.Value:
    """A value as it was loaded, in the width that is computed in."""
    if stored.startswith("bfloat16"):
        x = b.bitcast(b.shl(b.zext(x, I32), ir.Constant(I32, 16)), FLOAT)
    elif stored == "float16":
        x = b.fpext(x, FLOAT)
    return _resized(b, x, wide)


def _resized(b: ir.IRBuilder, x: ir.Value, to: ir.Type) -> ir.Value:
    """A float as a double, or a double rounded to a float."""
    if x.type == to:
        return x
    return b.fpext(x, DOUBLE) if to == DOUBLE else b.fptrunc(x, FLOAT)


def narrow(b: ir.IRBuilder, x: ir.Value, stored: str, noise: ir.Value | None = None) -> ir.Value:
    """A value as it is stored, rounded to nearest, or by 16 bits of ``noise``."""
    if stored == "float64":
        return _resized(b, x, DOUBLE)
    x = _resized(b, x, FLOAT)
    if stored == "float16":
        return b.fptrunc(x, HALF)
    if stored == "float32":
        return x
    # In integers: few processors have an instruction for it.
    bits = b.bitcast(x, I32)
    if noise is None:
        # Ties to even. NaN is chosen first: the rounding of a full mantissa would wrap it to -0.
        odd = b.and_(b.lshr(bits, ir.Constant(I32, 16)), ir.Constant(I32, 1))
        rounded = b.add(bits, b.add(odd, ir.Constant(I32, 0x7FFF)))
        nan = b.fcmp_unordered("uno", x, x)
        bits = b.select(nan, ir.Constant(I32, 0x7FC00000), rounded)
    else:
        kind = ir.FunctionType(FLOAT, [FLOAT])
        size = b.call(b.module.declare_intrinsic("llvm.fabs", [FLOAT], kind), [x])
        fits = b.fcmp_ordered("<=", size, ir.Constant(FLOAT, LARGEST))
        bits = b.add(bits, b.select(fits, noise, ir.Constant(I32, 0)))
    return b.trunc(b.lshr(bits, ir.Constant(I32, 16)), I16)


def mixed(b: ir.IRBuilder, x: ir.Value) -> ir.Value:
    """As ``engines.rounding.mixed``."""
    for shift, factor in MIXES:
        x = b.xor(x, b.lshr(x, ir.Constant(I32, shift)))
        x = x if factor == 1 else b.mul(x, ir.Constant(I32, factor))
    return x


def key(b: ir.IRBuilder, number: ir.Value, step: ir.Value, pair: int) -> ir.Value:
    """As ``engines.rounding.key``."""
    spread = ir.Constant(I32, SPREAD * (pair + 1) & 0xFFFFFFFF)
    return mixed(b, b.add(mixed(b, b.add(number, spread)), step))


def drawn(b: ir.IRBuilder, place: ir.Value, key: ir.Value) -> ir.Value:
    """The random bits of a pair of states for the element at this place."""
    x = b.add(b.mul(place, ir.Constant(I32, SPREAD)), key)
    return b.mul(b.xor(x, b.lshr(x, ir.Constant(I32, 15))), ir.Constant(I32, FACTOR))


def share(b: ir.IRBuilder, drawn: ir.Value, state: int) -> ir.Value:
    """The 16 bits for the pair's state, 0 or 1."""
    sixteen = ir.Constant(I32, 16 if state else 0xFFFF)
    return (b.lshr if state else b.and_)(drawn, sixteen)
