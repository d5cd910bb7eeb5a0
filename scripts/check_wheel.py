"""What must hold where the wheel alone is installed, with its core dependencies and no extra."""

import importlib.metadata
import importlib.util
import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def main() -> None:
    import torch

    from thalweg import optim

    package = Path(optim.__file__).parent.parent
    assert "site-packages" in package.parts, f"{package} is not the installed wheel"
    assert (package / "py.typed").is_file(), "py.typed is not in the wheel"
    source = ROOT / "src" / "thalweg"
    wanted = {
        p.relative_to(source)
        for p in source.rglob("*")
        if p.is_file() and "__pycache__" not in p.parts
    }
    missing = sorted(str(p) for p in wanted if not (package / p).is_file())
    assert not missing, f"not in the wheel: {missing}"

    heavy = {"jinja2", "llvmlite", "matplotlib", "rich", "sklearn"}
    loaded = sorted(heavy & sys.modules.keys())
    assert not loaded, f"import thalweg.optim loads {loaded}"
    extras = sorted(n for n in ("matplotlib", "rich", "sklearn") if importlib.util.find_spec(n))
    assert not extras, f"the core dependencies bring {extras}"

    steps = {}
    for engine in ("plain", "fused"):
        w = torch.nn.Parameter(torch.ones(64))
        optimizer = optim.AdamW([w], lr=0.1, engine=engine)
        (w * w).sum().backward()
        optimizer.step()
        steps[engine] = w.detach()
    torch.testing.assert_close(steps["fused"], steps["plain"])
    torch.testing.assert_close(steps["plain"], torch.full((64,), 1 - 0.1 * 0.01 - 0.1))

    from thalweg.analysis import critical_point
    from thalweg.problems.landscapes import landscape
    from thalweg.schedules import attach, cosine

    w = torch.nn.Parameter(torch.ones(1))
    scheduler = attach(optim.SGD([w], lr=0.1), cosine(10))
    scheduler.jump(5)
    assert scheduler.get_last_lr() == [0.1 * cosine(10)(5)]
    assert critical_point(landscape("rosenbrock"), [1, 1]).verdict == "minimum"
    loaded = sorted(heavy & sys.modules.keys() - {"llvmlite"})
    assert not loaded, f"schedules, landscapes or analysis load {loaded}"

    version = importlib.metadata.version("thalweg")
    newest = re.search(r"^## \[?([\d.]+)", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert newest, "CHANGELOG.md has no version"
    assert newest[1] == version, f"version {version} is not CHANGELOG's newest, {newest[1]}"
    print(f"thalweg {version}: the wheel alone imports, and steps on both engines")


if __name__ == "__main__":
    main()
