"""Expressions of NumPy, `np.ones((2, 3)) * 0.5`, evaluated without Python evaluating them.

The text is parsed to a syntax tree, and the tree is walked here: literals, arithmetic, indexing,
and the calls that `expression_functions` has. Nothing is looked up in Python: a name, an
attribute or a kind of syntax that is not listed is an error, and what would be large is refused
before it is made.
"""

import ast
import inspect
import re
import warnings
from collections.abc import Callable, Collection, Mapping
from typing import Any

import numpy as np

from salver.core.nearest import nearest
from salver.errors import InvalidArgument, ServingError
from salver.trial.expression_arithmetic import elementwise, matrix_product
from salver.trial.expression_arrays import TEXT_TYPES, TYPES, TypeName, array_of
from salver.trial.expression_budget import Budget
from salver.trial.expression_functions import CONSTANTS, functions
from salver.trial.expression_makers import Function
from salver.trial.expression_operations import combined
from salver.trial.expression_random import RandomNumbers
from salver.trial.expression_subscripts import subscript

MOST_CHARACTERS = 1 << 20
_DEEPEST = 100
_LONGEST_CHAIN = 1000
"""Operators in a row, `1+1+1`, which Python's parser nests."""
_STRING = re.compile(r"""'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*\"""", re.DOTALL)

_BINARY: Mapping[type[ast.operator], str] = {
    ast.Add: "add", ast.Sub: "subtract", ast.Mult: "multiply", ast.Div: "divide",
    ast.FloorDiv: "floor_divide", ast.Mod: "remainder", ast.Pow: "power",
    ast.LShift: "left_shift", ast.RShift: "right_shift", ast.BitAnd: "bitwise_and",
    ast.BitOr: "bitwise_or", ast.BitXor: "bitwise_xor",
}  # fmt: skip
_COMPARISONS: Mapping[type[ast.cmpop], str] = {
    ast.Eq: "equal", ast.NotEq: "not_equal", ast.Lt: "less", ast.LtE: "less_equal",
    ast.Gt: "greater", ast.GtE: "greater_equal",
}  # fmt: skip
_UNARY: Mapping[type[ast.unaryop], str] = {ast.USub: "negative", ast.Invert: "invert"}
_METHODS = (
    "reshape", "astype", "transpose", "ravel", "squeeze", "swapaxes", "repeat", "clip", "round",
    "copy", "sum", "mean", "min", "max", "prod", "std", "var", "any", "all", "argmax", "argmin",
    "argsort", "cumsum", "cumprod", "dot",
)  # fmt: skip
_MODULES = ("np", "numpy")


def evaluated(text: str) -> np.ndarray:
    """The array that an expression stands for; strings in it become objects of bytes.

    Raises:
        InvalidArgument: it is no such expression, or would be too large; the message says what
            is wrong, without the expression itself.
    """
    tree = parsed(text)
    budget = Budget()
    try:
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")
            made = array_of(_Evaluation(budget).value(tree, 0), budget)
            if made.dtype.kind == "O":
                # One string in many places is one here, but many for the model.
                budget.elements(sum(map(len, made.flat)))
            return made
    except ServingError:
        raise
    except (MemoryError, RecursionError) as error:
        raise InvalidArgument("it is too large, or too deeply nested") from error
    except (ArithmeticError, LookupError, TypeError, ValueError) as error:
        # NumPy's own words on shapes, axes and numbers; an overflow has a number before them.
        texts = [each for each in error.args if isinstance(each, str)]
        reason = " ".join((texts[-1] if texts else str(error)).split())
        raise InvalidArgument(reason[:200] or type(error).__name__) from error


def parsed(text: str) -> ast.expr:
    """The syntax tree of an expression; it is only read, never compiled.

    Raises:
        InvalidArgument: it is no Python expression, or too long.
    """
    if len(text) > MOST_CHARACTERS:
        raise InvalidArgument(f"it has more than {MOST_CHARACTERS:,} characters; use a file")
    _require_shallow(text)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return ast.parse(text.strip(), mode="eval").body
    except (SyntaxError, ValueError) as error:
        what = error.msg if isinstance(error, SyntaxError) else str(error)
        raise InvalidArgument(f"it is not a Python expression: {what}") from error
    except (MemoryError, RecursionError) as error:
        raise InvalidArgument("it is too deeply nested") from error


def _require_shallow(text: str) -> None:
    """Refuse what is plainly nested beyond use; of the rest, Python's parser keeps count."""
    depth = deepest = signs = most_signs = 0
    for character in _STRING.sub("", text):
        if character in "([{":
            depth += 1
            deepest = max(deepest, depth)
        elif character in ")]}":
            depth -= 1
        elif character in "+-~*/%@&|^<>.=":
            signs += 1
            most_signs = max(most_signs, signs)
        elif character == ",":
            signs = 0
    if deepest > _DEEPEST or most_signs > _LONGEST_CHAIN:
        raise InvalidArgument("it is too deeply nested")


class _Evaluation:
    """One walk through one tree."""

    def __init__(self, budget: Budget) -> None:
        self._budget = budget
        self._functions = functions(budget)

    def value(self, node: ast.expr, depth: int) -> Any:
        if depth > _DEEPEST + _LONGEST_CHAIN:
            raise InvalidArgument("it is too deeply nested")
        visit = self._VISITS.get(type(node))
        if visit is None:
            raise InvalidArgument(f"{_KINDS.get(type(node), 'this syntax')} cannot be used here")
        return visit(self, node, depth + 1)

    def _constant(self, node: ast.Constant, depth: int) -> Any:
        value = node.value
        if isinstance(value, str | bytes):
            self._budget.items(len(value))
        elif type(value) is int:
            _require_64_bits(value)
        elif not isinstance(value, bool | float | complex):
            raise InvalidArgument(f"{value!r} is neither a number nor a string")
        return value

    def _sequence(self, node: ast.List | ast.Tuple, depth: int) -> list[Any]:
        self._budget.items(len(node.elts))
        return [self.value(item, depth) for item in node.elts]

    def _unary(self, node: ast.UnaryOp, depth: int) -> Any:
        operand = self.value(node.operand, depth)
        if isinstance(node.op, ast.UAdd):
            return operand
        if isinstance(node.op, ast.Not):
            raise InvalidArgument("`not` cannot be used here; np.logical_not can")
        if isinstance(node.op, ast.USub) and type(operand) in (int, float, complex):
            return -operand
        return elementwise(_UNARY[type(node.op)], self._budget, operand)

    def _binary(self, node: ast.BinOp, depth: int) -> Any:
        left, right = self.value(node.left, depth), self.value(node.right, depth)
        if isinstance(node.op, ast.MatMult):
            return matrix_product(left, right, self._budget)
        name = _BINARY[type(node.op)]
        return combined(name, left, right, self._budget)

    def _compare(self, node: ast.Compare, depth: int) -> Any:
        if len(node.ops) != 1 or type(node.ops[0]) not in _COMPARISONS:
            raise InvalidArgument("only one of == != < <= > >= can stand between two values")
        left, right = self.value(node.left, depth), self.value(node.comparators[0], depth)
        return elementwise(_COMPARISONS[type(node.ops[0])], self._budget, left, right)

    def _name(self, node: ast.Name, depth: int) -> Any:
        if node.id in ("nan", "inf"):
            return CONSTANTS[node.id]
        if node.id in ("float", "int", "bool", "str", "bytes", "object"):
            return TypeName(node.id)
        if node.id in _MODULES:
            raise InvalidArgument("`np` alone is no value; np.ones((2, 3)) is one")
        raise InvalidArgument(f"there is no {node.id!r:.80}; functions are written np.NAME")

    def _attribute(self, node: ast.Attribute, depth: int) -> Any:
        if _is_module(node.value):
            return self._member(node.attr)
        value = self.value(node.value, depth)
        if isinstance(value, np.ndarray | np.generic):
            if node.attr == "T":
                return value.T
            if node.attr in ("shape", "ndim", "size"):
                return getattr(value, node.attr)
        raise InvalidArgument(
            f"the attribute {node.attr!r:.80} cannot be used in an expression"
            f"{_meant(node.attr, ('T', 'shape', 'ndim', 'size', *_METHODS))}"
        )

    def _member(self, name: str) -> Any:
        if name in CONSTANTS:
            return CONSTANTS[name]
        if name == "newaxis":
            return None
        if name in TYPES or name in TEXT_TYPES:
            return TypeName(name)
        raise self._no_function(name)

    def _no_function(self, name: str) -> InvalidArgument:
        known = _meant(name, self._functions)
        return InvalidArgument(f"np.{name[:80]} cannot be used in an expression{known}")

    def _subscript(self, node: ast.Subscript, depth: int) -> Any:
        value = self.value(node.value, depth)
        return subscript(value, self._index(node.slice, depth), self._budget)

    def _index(self, node: ast.expr, depth: int) -> Any:
        if isinstance(node, ast.Slice):
            ends = (node.lower, node.upper, node.step)
            return slice(*(None if end is None else self.value(end, depth) for end in ends))
        if isinstance(node, ast.Tuple):
            return tuple(self._index(item, depth) for item in node.elts)
        if isinstance(node, ast.Constant) and (node.value is None or node.value is Ellipsis):
            return node.value
        return self.value(node, depth)

    def _call(self, node: ast.Call, depth: int) -> Any:
        called = self._called(node.func, depth)
        arguments = [self._argument(argument, depth) for argument in node.args]
        named = {}
        for keyword in node.keywords:
            if keyword.arg is None:
                raise InvalidArgument("** cannot be used here")
            named[keyword.arg] = self._argument(keyword.value, depth)
        _require_taken(called, node.func, arguments, named)
        return called(*arguments, **named)

    def _argument(self, node: ast.expr, depth: int) -> Any:
        if isinstance(node, ast.Constant) and node.value is None:
            return None
        return self.value(node, depth)

    def _called(self, node: ast.expr, depth: int) -> Callable[..., Any]:
        if not isinstance(node, ast.Attribute):
            name = node.id if isinstance(node, ast.Name) else ""
            if name in ("float", "int", "bool", "str", "bytes", "object"):
                return self._conversion(name)
            known = f"; did you mean np.{name}?" if name in self._functions else ""
            raise InvalidArgument(
                f"{name or 'this'!r:.80} cannot be called in an expression{known}"
            )
        if _is_module(node.value):
            if node.attr in TYPES:
                return self._conversion(node.attr)
            found = self._functions.get(node.attr)
            if found is None:
                raise self._no_function(node.attr)
            return found
        if (
            isinstance(node.value, ast.Attribute)
            and _is_module(node.value.value)
            and node.value.attr == "random"
        ):
            return self._random(node.attr)
        return self._method(self.value(node.value, depth), node.attr)

    def _conversion(self, name: str) -> Function:
        array = self._functions["array"]
        return lambda value=0: array(value, TypeName(name))[()]

    def _random(self, name: str) -> Callable[..., Any]:
        if name == "default_rng":
            return lambda seed=None: RandomNumbers(self._budget, seed, new=True)
        if name == "RandomState":
            return lambda seed=None: RandomNumbers(self._budget, seed)
        return RandomNumbers(self._budget).function(name)

    def _method(self, value: object, name: str) -> Callable[..., Any]:
        if isinstance(value, RandomNumbers):
            return value.function(name)
        if not isinstance(value, np.ndarray | np.generic) or name not in (*_METHODS, "flatten"):
            raise InvalidArgument(
                f"the method {name!r:.80} cannot be used in an expression{_meant(name, _METHODS)}"
            )
        function = self._functions["ravel" if name == "flatten" else name]
        return lambda *arguments, **named: function(value, *arguments, **named)

    _VISITS: Mapping[type[ast.expr], Callable[..., Any]] = {
        ast.Constant: _constant, ast.List: _sequence, ast.Tuple: _sequence, ast.UnaryOp: _unary,
        ast.BinOp: _binary, ast.Compare: _compare, ast.Name: _name, ast.Attribute: _attribute,
        ast.Subscript: _subscript, ast.Call: _call,
    }  # fmt: skip


_KINDS: Mapping[type[ast.expr], str] = {
    ast.ListComp: "a comprehension", ast.SetComp: "a comprehension",
    ast.DictComp: "a comprehension", ast.GeneratorExp: "a comprehension",
    ast.Lambda: "a lambda", ast.IfExp: "if and else", ast.BoolOp: "`and` or `or`",
    ast.Dict: "a dictionary", ast.Set: "a set", ast.JoinedStr: "an f-string",
    ast.NamedExpr: "an assignment", ast.Starred: "a star", ast.Await: "await",
    ast.Yield: "yield", ast.YieldFrom: "yield",
}  # fmt: skip


def _is_module(node: ast.expr) -> bool:
    return isinstance(node, ast.Name) and node.id in _MODULES


def _require_taken(
    called: Callable[..., Any], node: ast.expr, arguments: list[Any], named: dict[str, Any]
) -> None:
    """Refuse arguments that the function has not, in words that name it as it was written."""
    taken = inspect.signature(called)
    try:
        taken.bind(*arguments, **named)
    except TypeError as error:
        name = node.attr if isinstance(node, ast.Attribute) else "it"
        shown = [
            f"*{each.name}" if each.kind is each.VAR_POSITIONAL else each.name
            for each in taken.parameters.values()
        ]
        raise InvalidArgument(f"{name} takes ({', '.join(shown)}) here: {error}") from error


def _meant(name: str, known: Collection[str]) -> str:
    """The nearest name; not all there are, which would fill the screen."""
    end = nearest(name[:80], known)
    return end if "did you mean" in end else ""


def _require_64_bits(value: int) -> None:
    if not -(2**63) <= value < 2**64:
        raise InvalidArgument("a whole number has more than 64 bits")
