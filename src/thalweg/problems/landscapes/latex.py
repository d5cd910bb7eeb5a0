"""A formula's tree as LaTeX."""

from __future__ import annotations

from thalweg.problems.landscapes.expression import Apply, Expression, Number, Variable

_SUM, _PRODUCT, _POWER, _ATOM = range(4)
_BACKSLASH = "\\"
_GREEK = {"pi": r"\pi"}
_NAMED = {"atan": r"\arctan", "atan2": r"\operatorname{atan2}"}
_COMPARISONS = {"<=": r"\le", ">=": r"\ge", "==": "=", "!=": r"\ne"}


def latex(tree: Expression) -> str:
    """A tree as LaTeX, without dollar signs."""
    return _text(tree)[0]


def _within(tree: Expression, strength: int) -> str:
    """In brackets, if what surrounds it binds more strongly."""
    text, own = _text(tree)
    return text if own >= strength else rf"\left({text}\right)"


def _text(tree: Expression) -> tuple[str, int]:
    """LaTeX, and how strongly its outermost operation binds."""
    match tree:
        case Number(text=text):
            return _number(text)
        case Variable(name=name):
            return _variable(name), _ATOM
        case Apply(word="+", args=args):
            text = _within(args[0], _SUM)
            for term in args[1:]:
                if isinstance(term, Apply) and term.word == "neg":
                    text += " - " + _within(term.args[0], _PRODUCT)
                else:
                    text += " + " + _within(term, _PRODUCT)
            return text, _SUM
        case Apply(word="neg", args=(arg,)):
            return "-" + _within(arg, _PRODUCT), _SUM
        case Apply(word="*", args=args):
            over = [a for a in args if not _inverse(a)]
            under = [a.args[0] for a in args if isinstance(a, Apply) and _inverse(a)]
            if under:
                return rf"\frac{{{_product(over)}}}{{{_product(under)}}}", _PRODUCT
            return _product(over), _PRODUCT
        case Apply(word="^", args=(base, exponent)):
            return f"{_within(base, _ATOM)}^{{{latex(exponent)}}}", _POWER
        case Apply(word="sqrt", args=(arg,)):
            return rf"\sqrt{{{latex(arg)}}}", _ATOM
        case Apply(word="abs", args=(arg,)):
            return rf"\left|{latex(arg)}\right|", _ATOM
        case Apply(word="where", args=(condition, then, otherwise)):
            cases = rf"{latex(then)} & \text{{if }} {latex(condition)} \\ {latex(otherwise)} & "
            return rf"\begin{{cases}} {cases}\text{{otherwise}} \end{{cases}}", _ATOM
        case Apply(word="<" | "<=" | ">" | ">=" | "==" | "!=" as word, args=(left, right)):
            return f"{latex(left)} {_COMPARISONS.get(word, word)} {latex(right)}", _SUM
        case Apply(word=word, args=args):
            inside = ", ".join(latex(a) for a in args)
            return rf"{_NAMED.get(word, _BACKSLASH + word)}\left({inside}\right)", _ATOM


def _variable(name: str) -> str:
    letters = name.rstrip("0123456789")
    digits = name[len(letters) :]
    if len(letters) > 1:
        letters = rf"\mathrm{{{letters}}}".replace("_", r"\_")
    return f"{letters}_{{{digits}}}" if digits else letters


def _inverse(tree: Expression) -> bool:
    return isinstance(tree, Apply) and tree.word == "inv"


def _product(factors: list[Expression]) -> str:
    if len(factors) == 1:
        return latex(factors[0])
    text = ""
    for factor in factors:
        part = _within(factor, _PRODUCT)
        sign = r" \cdot " if part[0] in "0123456789." else r" \, "
        text += (sign if text else "") + part
    return text


def _number(text: str) -> tuple[str, int]:
    if text in _GREEK:
        return _GREEK[text], _ATOM
    mantissa, e, exponent = text.lower().partition("e")
    if not e or not mantissa:
        return text, _ATOM
    sign, digits = ("-" if exponent.startswith("-") else ""), exponent.lstrip("+-0")
    power = f"10^{{{sign}{digits or 0}}}"
    if float(mantissa) == 1:
        return power, _POWER
    return rf"{mantissa} \cdot {power}", _PRODUCT
