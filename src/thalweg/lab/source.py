"""A file of the reader's own, ``FILE.py:NAME``, as it was when it was read.

A race runs the bytes that were read when it was planned, whatever becomes of the file meanwhile:
they are what the version in a contender's name speaks of.
"""

from __future__ import annotations

import hashlib
import linecache
import re
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.abc import SourceLoader
from importlib.util import decode_source, module_from_spec, spec_from_loader
from pathlib import Path
from typing import Any, Self

from thalweg.terminal import one_line

LONGEST = 300  # letters of an error's message
Sources = Mapping[str, "Source"]  # by path


@dataclass(frozen=True)
class Source:
    """A file's path, as it was typed, and its bytes."""

    path: str
    code: bytes

    @classmethod
    def read(cls, path: str) -> Self:
        """The file as it is now; ValueError if it cannot be read."""
        try:
            return cls(path, Path(path).read_bytes())
        except OSError as e:
            raise ValueError(f"cannot read {path}: {e.strerror}") from None

    @property
    def version(self) -> str:
        """A changed file is another contender: what the old one scored must not count for it."""
        return hashlib.sha256(self.code).hexdigest()[:8]

    def name(self, attribute: str) -> str:
        """What a contender from this file is called."""
        return f"{self.path}:{attribute}#{self.version}"

    def get(self, attribute: str) -> Any:
        """Run the file and return what it calls ``attribute``.

        Raises:
            ValueError: it cannot be run, or has no such thing; the message says why.
        """
        loader = _Loader(self)
        spec = spec_from_loader(f"<{self.path}>", loader)
        assert spec is not None
        module = module_from_spec(spec)
        sys.modules[spec.name] = module  # where dataclasses look for their types
        try:
            # Tracebacks show these lines, not what the file says by then.
            lines = decode_source(self.code).splitlines(keepends=True)
            linecache.cache[self.path] = (len(self.code), None, lines, self.path)
            loader.exec_module(module)
        except KeyboardInterrupt:
            raise
        except BaseException as e:  # sys.exit() as well
            raise ValueError(f"{self.path} cannot be run: {described(e, [self.path])}") from e
        if attribute not in vars(module):
            raise ValueError(f"there is no {attribute!r} in {self.path}")
        return vars(module)[attribute]


class _Loader(SourceLoader):
    """Gives Python's own import the bytes that were read, and it writes no bytecode."""

    def __init__(self, source: Source) -> None:
        self.source = source

    def get_filename(self, fullname: str) -> str:
        del fullname
        return self.source.path

    def get_data(self, path: str | bytes) -> bytes:
        del path
        return self.source.code


def is_own(name: str) -> bool:
    """Whether a name is ``FILE.py:NAME``, with a version or without."""
    return ".py:" in str(name)


def read(names: Sequence[str]) -> dict[str, Source]:
    """The files that these names speak of, each read once; by path."""
    paths = dict.fromkeys(parts(name)[0] for name in names if is_own(name))
    return {path: Source.read(path) for path in paths}


def parts(name: str) -> tuple[str, str, str]:
    """Path, attribute and version, which may be empty, of ``FILE.py:NAME#version``."""
    path, _, rest = name.rpartition(":")
    attribute, _, version = rest.partition("#")
    return path, attribute, version


def apart(names: Sequence[str], titles: Sequence[str]) -> list[str]:
    """The titles of these names, no two the same for two names: where they are, those from files
    get their file's name as well, or, where that is the same, its whole path, and last a number."""
    found = list(titles)
    for said in (lambda path: Path(path).name, str):
        often = Counter(found)
        for i, name in enumerate(names):
            if often[found[i]] > 1 and is_own(name):
                path, attribute, _ = parts(name)
                # Other letters might be formulas to Matplotlib, or commands to a terminal.
                file = re.sub(r"[^\w./-]", "_", said(path))
                found[i] = f"{attribute} ({file})"
    same = [found[:i].count(title) for i, title in enumerate(found)]  # "a b.py" and "a_b.py"
    return [f"{t} [{n + 1}]" if n else t for t, n in zip(found, same, strict=True)]


def located(name: str, sources: Sources) -> tuple[Source, str]:
    """The source that a name speaks of, read unless it is among those given, and the attribute.

    Raises:
        ValueError: it cannot be read, or is of another version; or NAME is not a name.
    """
    path, attribute, version = parts(name)
    if not attribute.isidentifier():
        raise ValueError(f"NAME in FILE.py:NAME must be a Python name, not {attribute!r}")
    source = sources.get(path) or Source.read(path)
    if version and source.version != version:
        raise ValueError(f"{path} has changed since the race was planned")
    return source, attribute


def described(error: BaseException, paths: Sequence[str]) -> str:
    """An exception in one line, and where in these files it was raised."""
    try:
        words = " ".join(str(error).split())
    except Exception:  # its own class cannot say what it is
        words = ""
    said = f"{type(error).__name__}: {words}".removesuffix(": ")
    said = one_line(said if len(said) <= LONGEST else said[:LONGEST] + "…")
    if isinstance(error, SyntaxError):  # it names the place itself
        return said
    place, trace = "", error.__traceback__
    while trace is not None:
        if trace.tb_frame.f_code.co_filename in paths:
            place = f" ({one_line(trace.tb_frame.f_code.co_filename)}, line {trace.tb_lineno})"
        trace = trace.tb_next
    return said + place
