"""Pages that say where something is."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "src" / "thalweg"


def test_the_architecture_page_names_what_is_there():
    text = (ROOT / "docs" / "architecture.md").read_text()
    named = re.findall(r"`([\w/]+\.py)`(?:: ((?:`\w+`(?:, )?)+))?", text)
    assert len(named) > 30
    for path, names in named:
        if path == "optim/NAME.py":
            continue
        code = (SOURCE / path).read_text()
        for name in re.findall(r"`(\w+)`", names):
            assert re.search(rf"(def {name}\(|\"{name}\")", code), f"{path}: {name}"


def test_its_picture_has_every_room():
    text = (ROOT / "docs" / "architecture.md").read_text()
    rooms = {
        p.stem if p.is_file() else p.name
        for p in SOURCE.iterdir()
        if p.is_dir() or p.suffix == ".py"
    }
    rooms -= {"__init__", "__main__", "__pycache__", "py"}
    assert {room for room in rooms if room not in text} == set()
