"""An option of an optimizer is declared once, in its class: signature, default, check,
documentation and static type follow from that line.

::

    class Lion(RuleOptimizer):
        lr: Any = option(default=1e-4, domain=NON_NEGATIVE, doc="learning rate")
        betas: tuple[float, float] = option(default=(0.9, 0.99), domain=(DECAY, DECAY), doc="…")
        convention: Literal["a", "b"] = choice(default="a", choices=("a", "b"), doc="…")
"""

from __future__ import annotations

import inspect
import textwrap
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from inspect import Parameter
from typing import Any, ClassVar, dataclass_transform

from thalweg.optim.given import unknown
from thalweg.validation import Interval

PARAMS = "tensors, named tensors or groups, as for every ``torch.optim.Optimizer``."


@dataclass(frozen=True, eq=False)
class Option:
    """What a class says of one argument of its constructor."""

    default: Any
    doc: str
    domain: Interval | tuple[Interval, ...] | None = None  # of a number, or of each of several
    parts: tuple[str, ...] = ()  # the rule's names of several numbers
    choices: tuple[Any, ...] = ()
    kw_only: bool = False
    init: bool = True  # whether the constructor takes it
    grouped: bool = True  # whether every parameter group has it
    common: bool = False  # whether every optimizer has it

    def allowed(self) -> str:
        """What its value may be, if the default does not say so."""
        if set(self.choices) == {False, True}:
            return ""
        if self.choices:
            return f"one of {', '.join(map(repr, self.choices))}"
        domains = self.domain if isinstance(self.domain, tuple) else (self.domain,)
        return "; ".join(dict.fromkeys(str(x) for x in domains if x is not None))


def option(
    *,
    default: Any,
    domain: Interval | tuple[Interval, ...],
    doc: str,
    parts: tuple[str, ...] = (),
    kw_only: bool = False,
) -> Any:
    """A number that the rule is told, or a tuple of numbers, of which ``parts`` are the rule's
    names (``betas`` are beta1, beta2, … if not said otherwise)."""
    if isinstance(domain, tuple) and not parts:
        parts = tuple(f"beta{i + 1}" for i in range(len(domain)))
    return Option(default, doc, domain, parts, kw_only=kw_only)


def choice(
    *,
    default: Any,
    choices: tuple[Any, ...] = (False, True),
    doc: str,
    kw_only: bool = False,
    init: bool = True,
) -> Any:
    """One of several values, which chooses a form of the rule."""
    return Option(default, doc, choices=choices, kw_only=kw_only, init=init)


def takes_options(constructor: Callable[..., None]) -> Callable[..., None]:
    """Mark the constructor whose arguments are what its class declares."""
    vars(constructor)["takes_options"] = True
    return constructor


# That an argument has to be named, type checkers see only where `kw_only` is written out.
def common(*, default: Any, choices: tuple[Any, ...] = (), doc: str, kw_only: bool = True) -> Any:
    """What every optimizer takes."""
    return Option(default, doc, choices=choices, kw_only=kw_only, common=True)


def argument(*, default: Any, doc: str, kw_only: bool = True) -> Any:
    """What concerns the optimizer, and not its groups."""
    return Option(default, doc, kw_only=kw_only, grouped=False)


@dataclass_transform(field_specifiers=(option, choice, common, argument))
class Declared:
    """Base of classes whose options are declared in their body."""

    options: ClassVar[Mapping[str, Option]] = {}  # own and inherited, in the constructor's order
    domains: ClassVar[Mapping[str, Interval]] = {}  # of every number, by the rule's names
    parts: ClassVar[Mapping[str, tuple[str, ...]]] = {}  # options that are several numbers
    flags: ClassVar[Mapping[str, tuple[Any, ...]]] = {}  # options that choose a form of the rule
    __signature__: ClassVar[inspect.Signature]

    def __init_subclass__(cls, **keywords: Any) -> None:
        super().__init_subclass__(**keywords)
        for name in ("options", "domains", "parts", "flags"):
            if name in vars(cls):
                raise TypeError(
                    f"{cls.__name__}.{name} follows from option() and choice(): use those"
                )
        own = {name: x for name, x in vars(cls).items() if isinstance(x, Option)}
        for name in own:
            delattr(cls, name)  # an optimizer has them in its groups
        options: dict[str, Option] = {}
        for base in reversed(cls.__mro__[1:]):
            options |= vars(base).get("options", {})
        options |= own
        last = {name: (x.kw_only, x.common) for name, x in options.items()}
        cls.options = {name: options[name] for name in sorted(options, key=last.__getitem__)}
        domains: dict[str, Interval] = {}
        parts: dict[str, tuple[str, ...]] = {}
        for name, x in cls.options.items():
            if isinstance(x.domain, tuple):
                parts[name] = x.parts
                domains |= zip(x.parts, x.domain, strict=True)
            elif x.domain is not None:
                domains[name] = x.domain
        cls.domains, cls.parts = domains, parts
        cls.flags = {n: x.choices for n, x in cls.options.items() if x.choices and not x.common}
        if getattr(cls.__init__, "takes_options", False):
            cls.__signature__ = inspect.Signature(_parameters(cls.options))
            if cls.__doc__ and own:
                cls.__doc__ = _documented(inspect.cleandoc(cls.__doc__), cls.options)
        elif "__init__" in vars(cls):  # of its own; whoever inherits it has its signature
            parameters = [*inspect.signature(cls.__init__).parameters.values()]
            cls.__signature__ = inspect.Signature(parameters[1:])

    @classmethod
    def _taken(cls, arguments: tuple[Any, ...], given: dict[str, Any]) -> dict[str, Any]:
        """All options by name, from what the constructor was given beside the parameters."""
        known = [name for name, x in cls.options.items() if x.init]
        ordered = [name for name in known if not cls.options[name].kw_only]
        for name in given:
            if name not in known:
                raise unknown(name, known, cls.__name__)
        if len(arguments) > len(ordered):
            raise TypeError(
                f"{cls.__name__} takes at most {len(ordered)} options without their names, not "
                f"{len(arguments)}"
            )
        placed = dict(zip(ordered, arguments, strict=False))
        for name in placed.keys() & given.keys():
            raise TypeError(f"{cls.__name__} is given {name!r} twice")
        return {name: x.default for name, x in cls.options.items()} | placed | given


def _parameters(options: Mapping[str, Option]) -> list[Parameter]:
    kinds = {False: Parameter.POSITIONAL_OR_KEYWORD, True: Parameter.KEYWORD_ONLY}
    return [
        Parameter("params", Parameter.POSITIONAL_OR_KEYWORD),
        *(
            Parameter(name, kinds[x.kw_only], default=x.default)
            for name, x in options.items()
            if x.init
        ),
    ]


def _documented(doc: str, options: Mapping[str, Option]) -> str:
    """The docstring with a section about the arguments, before that about the state."""
    lines = [f"params: {PARAMS}"]
    for name, x in options.items():
        if x.init:
            allowed = f"; {x.allowed()}" if x.allowed() else ""
            lines.append(f"{name} (default {x.default!r}{allowed}): {' '.join(x.doc.split())}")
    wrapped = [
        textwrap.fill(line, 96, initial_indent="    ", subsequent_indent=" " * 8) for line in lines
    ]
    section = "\n".join(("Args:", *wrapped))
    before, state, after = doc.partition("\nState:")
    return f"{before.rstrip()}\n\n{section}\n{state}{after}"
