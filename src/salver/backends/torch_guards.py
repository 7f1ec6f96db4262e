"""What sizes an exported program takes: its graph may be right for these alone."""

import threading
from collections.abc import Mapping, Sequence
from typing import Any

from salver.backends.torch_expressions import check_guard
from salver.errors import InvalidArgument, PermissionDenied

Shapes = tuple[tuple[int, ...], ...]

_MOST_KNOWN = 10_000
_SPECIALIZED = 2
"""PyTorch takes 0 and 1 for special and says so with this lower bound, where there is none."""


class Guards:
    """Checks the sizes of a request. From any thread."""

    def __init__(
        self, torch: Any, program: Any, names: list[str], values: Mapping[str, Any], where: str
    ) -> None:
        """Read ranges of sizes and conditions between them.

        Raises:
            PermissionDenied: a condition does more than compare sizes.
        """
        self._where = where.partition(":")[0]
        self._names = names
        self._known: set[Shapes] = set()
        self._lock = threading.Lock()
        ranges = {str(symbol): each for symbol, each in program.range_constraints.items()}
        self._axes = [
            (place, axis, str(size.node.expr), ranges.get(str(size.node.expr)))
            for place, name in enumerate(names)
            for axis, size in enumerate(values[name].shape)
            if isinstance(size, torch.SymInt) and size.node.expr.is_Symbol
        ]
        texts = list(program._guards_code)
        for text in texts:
            # Also of a file that is trusted: others are not understood here.
            if not check_guard(text):
                raise PermissionDenied(f"{where} has a condition that is no comparison: {text}")
        self._guards = [(text, compile(text.strip(), where, "eval")) for text in texts]
        self._tree = torch.utils._pytree
        self._spec = program.call_spec.in_spec
        self._arguments = program.module_call_graph[0].signature.forward_arg_names
        user = program.graph_signature.user_inputs
        self._places = [names.index(name) if name in names else -1 for name in user]

    def check(self, shapes: Shapes) -> None:
        """Compare; what was right once is not compared again.

        Raises:
            InvalidArgument: the program does not take these sizes.
        """
        if shapes in self._known:
            return
        self._check_ranges(shapes)
        self._check_guards(shapes)
        if len(self._known) < _MOST_KNOWN:
            with self._lock:
                self._known.add(shapes)

    def _check_ranges(self, shapes: Shapes) -> None:
        sizes: dict[str, tuple[int, str]] = {}
        for place, axis, symbol, bounds in self._axes:
            size, name = shapes[place][axis], self._names[place]
            first, other = sizes.setdefault(symbol, (size, name))
            if first != size:
                raise InvalidArgument(
                    f'{self._where}: expects dimension {axis} of input "{name}" to be {first}, as '
                    f'in input "{other}", but {size} is provided'
                )
            if bounds is None:
                continue
            lower = bounds.lower if bounds.lower > _SPECIALIZED else 0
            if not lower <= size <= bounds.upper:
                raise InvalidArgument(
                    f'{self._where}: expects dimension {axis} of input "{name}" to be from '
                    f"{lower} to {bounds.upper}, but {size} is provided"
                )

    def _check_guards(self, shapes: Shapes) -> None:
        if not self._guards:
            return
        leaves = [_Sized(shapes[place] if place >= 0 else ()) for place in self._places]
        arguments, keywords = self._tree.tree_unflatten(leaves, self._spec)
        named = {**dict(zip(self._arguments or (), arguments, strict=False)), **keywords}
        for text, guard in self._guards:
            # Nothing but comparisons: see `check_guard`.
            if not eval(guard, {"__builtins__": {}, "max": max, "min": min}, {"L": named}):
                raise InvalidArgument(f"{self._where}: the sizes of the inputs do not fit: {text}")


class _Sized:
    def __init__(self, shape: Sequence[int]) -> None:
        self._shape = shape

    def size(self) -> Sequence[int]:
        return self._shape
