"""Whether kernels can be compiled here."""

from __future__ import annotations

from thalweg.engines.forks import lock


def installed() -> str | None:
    """None where kernels can be compiled, else the reason why not."""
    try:
        with lock:
            import llvmlite.binding  # noqa: F401

            import thalweg.engines.kernel.memory  # noqa: F401  all that is imported late
    except (ImportError, OSError) as e:
        return f"llvmlite cannot be imported ({e})"
    return None
