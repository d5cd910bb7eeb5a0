"""Executes the tutorial and writes what students open: notebooks and HTML pages.

    python scripts/tutorial.py [--out build/tutorial] [NAME ...]

The text is `docs/tutorial/*.md`, a notebook each in jupytext's Markdown, and the exercises and
solutions in folders of their own. A cell that raises or warns fails the whole. Two notebooks run at
a time. Pages work without a network: pictures are in them, formulas are MathML.
"""

from __future__ import annotations

import argparse
import base64
import hashlib
import os
import re
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import jinja2
import jupytext
import nbclient
import nbformat
from math_core import LatexToMathML
from nbconvert.exporters import HTMLExporter
from nbconvert.filters.markdown_mistune import IPythonRenderer, MarkdownWithMath
from pygments.formatters import HtmlFormatter

ROOT = Path(__file__).parent.parent
TEXT = ROOT / "docs" / "tutorial"
MATHS = LatexToMathML()
SECONDS = 240  # a cell that takes longer hangs
# The one script of a page; its security policy lets no other run.
SCRIPT = (
    'if (matchMedia("(max-width: 64rem)").matches) '
    'document.querySelector("nav.all details").open = false;'
)


class Failed(Exception):
    """A notebook that raised, or said something it should not."""


class Renderer(IPythonRenderer):
    """Formulas as MathML, links to other chapters as links to their pages."""

    def block_math(self, body: str) -> str:
        return MATHS.convert_with_local_state(body, displaystyle=True)

    def inline_math(self, body: str) -> str:
        return MATHS.convert_with_local_state(body, displaystyle=False)

    def link(self, text: str, url: str, title: str | None = None) -> str:
        if "://" not in url:
            url = re.sub(r"\.md(#|$)", r".html\1", url)
        return super().link(text, url, title)


class Exporter(HTMLExporter):
    """The body of a page: cells and their outputs."""

    def __init__(self) -> None:
        super().__init__(template_name="basic", embed_images=True)

    def markdown2html(self, context: Any, source: str) -> str:
        path = context.get("resources", {}).get("metadata", {}).get("path", "")
        renderer = Renderer(escape=False, embed_images=True, path=path, exclude_anchor_links=True)
        return MarkdownWithMath(renderer=renderer).render(source)

    markdown2html.jinja_pass_arg = HTMLExporter.markdown2html.jinja_pass_arg  # type: ignore[attr-defined]


def chapters() -> list[Path]:
    """Every text of the tutorial, in reading order: exercises and their solutions at the end."""
    return [
        p for folder in ("", "exercises", "solutions") for p in sorted((TEXT / folder).glob("*.md"))
    ]


def title(text: Path) -> str:
    found = re.search(r"^# (.+)$", text.read_text(), re.MULTILINE)
    if not found:
        raise Failed(f"{text.name} has no title")
    return found[1]


def execute(text: Path) -> tuple[nbformat.NotebookNode, float]:
    """The notebook with its outputs, and the seconds that it took."""
    notebook = jupytext.read(text)
    for cell in notebook.cells:
        if cell.source.startswith("%%"):  # what jupytext makes of a fence in another language
            raise Failed(f"{text.relative_to(TEXT)} would run a shell: fence it as `text`")
    notebook.metadata["kernelspec"] = {
        "name": "python3",
        "display_name": "Python 3",
        "language": "python",
    }
    start = time.perf_counter()
    if any(cell.cell_type == "code" for cell in notebook.cells):
        client = nbclient.NotebookClient(
            notebook,
            timeout=SECONDS,
            resources={"metadata": {"path": str(text.parent)}},
            extra_arguments=[
                "--log-level=ERROR",  # it warns that TCP on this host can be read
                "--InlineBackend.figure_format=retina",
            ],
        )
        try:
            client.execute()
        except nbclient.exceptions.CellExecutionError as e:
            raise Failed(f"{text.relative_to(TEXT)}: {e}") from None
    section = title(text)
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            section = ([section, *re.findall(r"^#+ (.+)$", cell.source, re.MULTILINE)])[-1]
        whole: list[Any] = []  # what a cell prints arrives in pieces
        for output in cell.get("outputs", []):
            if "image/png" in output.get("data", {}):
                output.metadata.setdefault("image/png", {})["alt"] = f"Figure: {section}"
            if output.get("name") == "stderr":
                raise Failed(f"{text.relative_to(TEXT)} said on standard error:\n{output.text}")
            if whole and output.get("name") == whole[-1].get("name") == "stdout":
                whole[-1].text += output.text
            else:
                whole.append(output)
        if whole:
            cell.outputs = whole
    return notebook, time.perf_counter() - start


def page(text: Path, notebook: nbformat.NotebookNode, everything: list[Path]) -> str:
    resources = {"metadata": {"path": str(text.parent)}}
    body, _ = Exporter().from_notebook_node(notebook, resources)
    template = jinja2.Template((Path(__file__).parent / "tutorial.html.j2").read_text())
    root = "" if text.parent == TEXT else "../"
    links = [
        {
            "href": root + str(t.relative_to(TEXT).with_suffix(".html")),
            "title": title(t),
            "part": "" if t.parent == TEXT else t.parent.name,
            "here": t == text,
        }
        for t in everything
    ]
    here = next(i for i, link in enumerate(links) if link["here"])
    return template.render(
        title=title(text),
        body=body,
        links=links,
        before=links[here - 1] if here else None,
        after=links[here + 1] if here + 1 < len(links) else None,
        notebook=text.with_suffix(".ipynb").name,
        script=SCRIPT,
        script_hash=f"sha256-{base64.b64encode(hashlib.sha256(SCRIPT.encode()).digest()).decode()}",
        highlight=HtmlFormatter(style="friendly").get_style_defs(".highlight"),
    )


def main() -> int:
    parser = argparse.ArgumentParser(description="Execute the tutorial, write notebooks and pages.")
    parser.add_argument(
        "names", nargs="*", metavar="NAME", help="e.g. 04-least-squares; default: all"
    )
    parser.add_argument("--out", type=Path, default=ROOT / "build" / "tutorial", metavar="DIR")
    options = parser.parse_args()
    everything = chapters()
    chosen = [t for t in everything if not options.names or t.stem in options.names]
    unknown = set(options.names) - {t.stem for t in chosen}
    if unknown:
        parser.error(f"there is no {', '.join(sorted(unknown))}")
    os.environ.setdefault("OMP_NUM_THREADS", "1")  # of each kernel: two run at a time
    start, failed = time.perf_counter(), 0
    with ThreadPoolExecutor(2) as pool:
        running = {t: pool.submit(execute, t) for t in chosen}
        for text, result in running.items():
            try:
                notebook, seconds = result.result()
            except Failed as e:
                print(e, file=sys.stderr)
                failed += 1
                continue
            target = options.out / text.relative_to(TEXT)
            target.parent.mkdir(parents=True, exist_ok=True)
            nbformat.write(notebook, target.with_suffix(".ipynb"))
            target.with_suffix(".html").write_text(page(text, notebook, everything))
            print(f"{seconds:6.1f} s  {text.relative_to(TEXT).with_suffix('')}", flush=True)
    print(f"{time.perf_counter() - start:6.1f} s  in all: {options.out}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
