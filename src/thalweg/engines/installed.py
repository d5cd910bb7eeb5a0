"""Whether kernels can be compiled here."""

from __future__ import annotations


def installed() -> str | None:
    """None where kernels can be compiled, else the reason why not."""
    try:
        import llvmlite.binding  # noqa: F401
    except (ImportError, OSError) as e:
        return f"llvmlite cannot be imported ({e})"
    return None
