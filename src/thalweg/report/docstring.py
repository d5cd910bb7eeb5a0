"""What a docstring says, part by part, for a terminal."""

from __future__ import annotations

import re
import textwrap

WIDTH = 88
HEADINGS = "Args|State|In torch|Where papers and code disagree|Reference"


def sections(doc: str) -> dict[str, str]:
    """A docstring's parts by their headings; what comes first is the idea."""
    found: dict[str, str] = {}
    name, lines = "Idea", list[str]()
    for line in [*doc.splitlines(), "End:"]:
        heading = re.match(rf"({HEADINGS}|End): ?(.*)$", line)
        if heading or line == "::":
            found[name] = "\n".join(lines).strip("\n")
            name, lines = (heading[1], [heading[2]]) if heading else ("Formula", [])
        else:
            lines.append(line)
    return {k: plain(v) for k, v in found.items()}


def plain(doc: str) -> str:
    """Docstring markup as a reader of a terminal wants it."""
    return re.sub(r":\w+:`~?[\w.]*?(\w+)`", r"\1", doc).replace("``", "")


def arguments(doc: str) -> dict[str, str]:
    """What the section ``Args`` says of each one."""
    found: dict[str, str] = {}
    last = ""
    for line in textwrap.dedent(doc.strip("\n")).splitlines():
        start = re.match(r"(\w+)(?: \(.*?\))?: (.*)", line)  # a reader's may say its type
        if start:
            last = start[1]
            found[last] = start[2]
        elif line.strip() and last:
            found[last] += " " + line.strip()
    return found


def wrap(words: str, width: int = WIDTH) -> str:
    """The words in lines of at most this many letters."""
    return textwrap.fill(" ".join(words.split()), width)


def table(rows: tuple[tuple[str, str, str], ...]) -> str:
    """Name and default, if there is one, the meaning below."""
    lines = []
    for name, default, meaning in rows:
        lines.append(f"    {name} = {default}" if default else f"    {name}")
        if meaning:
            lines.append(textwrap.indent(wrap(meaning, WIDTH - 8), " " * 8))
    return "\n".join(lines)
