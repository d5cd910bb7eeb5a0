"""LLVM IR -> machine code for this processor."""

from __future__ import annotations

import functools
import itertools
from typing import Any

import llvmlite.binding as llvm

from thalweg.engines.forks import lock


@functools.cache
def target() -> llvm.TargetMachine:
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    return llvm.Target.from_default_triple().create_target_machine(
        cpu=llvm.get_host_cpu_name(),
        features=llvm.get_host_cpu_features().flatten(),
        opt=3,
        jit=True,
    )


@functools.cache
def _linker() -> Any:
    return llvm.create_lljit_compiler(target())


def triple() -> str:
    return str(llvm.get_process_triple())


def _optimise(module: Any, loops: bool = True) -> None:
    options = llvm.create_pipeline_tuning_options(speed_level=3 if loops else 1)
    options.loop_vectorization = options.loop_interleaving = options.loop_unrolling = loops
    builder = llvm.create_pass_builder(target(), options)
    builder.getModulePassManager().run(module, builder)


_count = itertools.count()


def link(text: str, names: list[str], loops: bool = True) -> tuple[Any, dict[str, int]]:
    """Compile a module; returns what must be kept alive and the address of each name. ``loops``:
    whether it has loops that are worth the time to vectorise them."""
    with lock:  # llvmlite's optimiser and linker are not made for several threads
        module = llvm.parse_assembly(text)
        module.verify()
        _optimise(module, loops)
        builder = llvm.JITLibraryBuilder().add_ir(module).add_current_process()
        for name in names:
            builder = builder.export_symbol(name)
        library = builder.link(_linker(), f"kernel{next(_count)}")
        return library, {name: library[name] for name in names}


def assembly(text: str) -> str:
    """What a module compiles to, for those who want to look."""
    with lock:
        module = llvm.parse_assembly(text)
        _optimise(module)
        return str(target().emit_assembly(module))


def converts_float16() -> bool:
    """Whether this processor has instructions for float16; without them LLVM calls functions that
    no library here holds."""
    x86 = llvm.get_process_triple().split("-")[0] in ("x86_64", "i686")
    return not x86 or bool(llvm.get_host_cpu_features().get("f16c"))


def mkl_uses_half() -> bool:
    """Whether this processor has registers of 512 bits that MKL, made by Intel, leaves half empty:
    AMD's, from Zen 4 on."""
    amd = llvm.get_host_cpu_name().startswith("znver")
    return amd and bool(llvm.get_host_cpu_features().get("avx512f"))
