"""What ``thalweg bench`` shows in the terminal."""

from __future__ import annotations

from thalweg.lab.bench import Bench

WIDTH = 100
VARIANTS = ("loop", "foreach", "fused")


def show(bench: Bench) -> None:
    """Tables of the step times and of the step's share in a training iteration."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console(highlight=False, markup=False, emoji=False)
    console.width = max(console.width, WIDTH)  # a figure that is cut off says something else
    console.print(
        f"{bench.machine}, {bench.threads} threads; an in-place a.add_(b) over 100 million floats "
        f"streams {bench.stream:.1f} GB/s here",
        style="dim",
    )
    for model in dict.fromkeys(r.model for r in bench.rows):
        mine = [r for r in bench.rows if r.model == model]
        table = Table(box=None, pad_edge=False, header_style="dim", padding=(0, 1, 0, 0))
        table.add_column("optimizer", no_wrap=True)
        table.add_column("engine", no_wrap=True)
        columns = ("ms a\nstep", "bytes a\nweight", "\npasses", "\nGB/s", "of the\nstream")
        for name in (*columns, *(f"÷ torch\n{v}" for v in VARIANTS)):
            table.add_column(name, justify="right", no_wrap=True)
        for r in mine:
            ratios = [f"{r.torch[v]:.2f}" if v in r.torch else "–" for v in VARIANTS]
            table.add_row(
                r.algorithm, r.engine, f"{1e3 * r.seconds:.3g}", f"{r.bytes_per_weight}",
                f"{r.passes}", f"{r.gigabytes_per_second:.1f}", f"{r.share_of_stream:.2f}", *ratios,
            )  # fmt: skip
        first = mine[0]
        words = f": {first.weights / 1e6:.4g} million weights in {first.tensors} tensors"
        console.print(Text("\n").append(model, "bold").append(words))
        console.print(table)
    if bench.iterations:
        table = Table(box=None, pad_edge=False, header_style="dim", padding=(0, 2, 0, 0))
        table.add_column("optimizer", no_wrap=True)
        for name in ("µs per iteration", "of which the step"):
            table.add_column(name, justify="right", no_wrap=True)
        for i in bench.iterations:
            table.add_row(i.optimizer, f"{1e6 * i.seconds:.0f}", f"{100 * i.step_share:.0f} %")
        heading = Text("\n").append("A whole training iteration", "bold")
        console.print(heading.append(" of the mlp at batch size 100"))
        console.print(table)
    console.print(
        "\nMedians; contenders take turns in one process. A small model's arrays stay in the "
        "cache, which is faster than the stream.",
        style="dim",
    )
