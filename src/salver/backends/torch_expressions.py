"""Expressions in exported programs: sizes, as SymPy writes them, and conditions, in Python.

PyTorch evaluates them as Python. What may stand in one is listed here.
"""

import ast
import re
from collections.abc import Callable

_SIZE_FUNCTIONS = frozenset((
    "Abs", "Add", "And", "CeilDiv", "CeilToInt", "CleanDiv", "Eq", "FloatPow", "FloatTrueDiv",
    "FloorDiv", "FloorToInt", "Ge", "Gt", "Identity", "IntTrueDiv", "Integer", "Le", "Lt", "Max",
    "Min", "Mod", "ModularIndexing", "Mul", "Ne", "Not", "Or", "Pow", "PowByNatural", "PythonMod",
    "RoundToInt", "Symbol", "ToFloat", "TruncToFloat", "TruncToInt", "Where", "ceiling", "floor",
))  # fmt: skip
_OPERATORS = (
    ast.Add, ast.Sub, ast.Mult, ast.Div, ast.FloorDiv, ast.Mod, ast.USub, ast.UAdd, ast.Not,
    ast.And, ast.Or, ast.Eq, ast.NotEq, ast.Lt, ast.LtE, ast.Gt, ast.GtE,
)  # fmt: skip
_GROUPS = (ast.Expression, ast.BinOp, ast.UnaryOp, ast.BoolOp, ast.Compare, ast.Load)
_SYMBOL = re.compile(r"[a-z]+_?[a-z]*\d*")
_MOST_CHARACTERS = 10_000
_LARGEST_POWER = 16


def check_size(text: object) -> bool:
    """Whether an expression for a size computes with numbers and symbols, and does no more."""
    return _check(text, _is_plain_in_size)


def check_guard(text: object) -> bool:
    """Whether a condition compares sizes of inputs, `L['x'].size()[0]`, and does no more."""
    return _check(text, _is_plain_in_guard)


def _check(text: object, is_plain: Callable[[ast.AST], bool]) -> bool:
    if not isinstance(text, str) or len(text) > _MOST_CHARACTERS:
        return False
    try:
        tree = ast.parse(text.strip(), mode="eval")
        return all(is_plain(node) for node in ast.walk(tree))
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return False


def _is_plain_in_size(node: ast.AST) -> bool:
    match node:
        case ast.Call(func=ast.Name(id="Pow")):
            match node.args:
                case [base, ast.Constant() | ast.Call(func=ast.Name(id="Integer")) as exponent]:
                    return _is_small_power(base, exponent)
            return False
        case ast.Call(func=ast.Name(id=name)):
            return name in _SIZE_FUNCTIONS
        case ast.keyword(value=ast.Constant(value=bool())) | ast.Pow():
            return True
        case ast.Name(id=name):
            return name in _SIZE_FUNCTIONS or _SYMBOL.fullmatch(name) is not None
        case ast.Constant(value=str() as symbol):
            return _SYMBOL.fullmatch(symbol) is not None
        case _:
            return _is_plain(node)


def _is_plain_in_guard(node: ast.AST) -> bool:
    match node:
        case ast.Call(func=ast.Name(id=name), keywords=[]):
            return name in ("max", "min")
        case ast.Call(func=ast.Attribute(attr="size"), args=[], keywords=[]):
            return True
        case ast.Attribute(attr="size", value=ast.Subscript()):
            return True
        case ast.Name(id=name):
            return name in ("L", "max", "min")
        case ast.Subscript(slice=ast.Constant(value=str() | int())):
            return True
        case ast.Constant(value=str()):
            return True
        case _:
            return _is_plain(node)


def _is_plain(node: ast.AST) -> bool:
    match node:
        case ast.Constant(value=int() | float()):
            return True
        case ast.BinOp(op=ast.Pow(), left=base, right=exponent):
            return _is_small_power(base, exponent)
        case _:
            return isinstance(node, _GROUPS + _OPERATORS)


def _is_small_power(base: ast.AST, exponent: ast.AST) -> bool:
    """Of a symbol: the power of a power of numbers could take for ever."""
    match exponent:
        case ast.Constant(value=int() as power):
            is_small = power <= _LARGEST_POWER
        case ast.Call(args=[ast.Constant(value=int() as power)]):
            is_small = power <= _LARGEST_POWER
        case _:
            return False
    match base:
        case ast.Name() | ast.Call(func=ast.Name(id="Symbol")):
            return is_small
    return False
