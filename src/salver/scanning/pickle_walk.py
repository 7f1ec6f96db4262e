"""A walk over the opcodes of a pickle, which names what loading it would import and call.

Nothing is imported, made or called. A stack machine follows the values as far as that takes:
names that come from the memo, classes whose arguments tell how many bytes of an array lie
between the opcodes (joblib writes them so). Source: Python's pickletools and
Lib/pickle.py, joblib's numpy_pickle.py.
"""

import contextlib
import pickletools
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, BinaryIO

import numpy as np

from salver.scanning.pickle_names import UNKNOWN_IMPORT, verdict

_MARK = object()
_UNKNOWN = object()
_PROTOCOLS = (b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05")
_OLD_NAMES = {"__builtin__": "builtins", "copy_reg": "copyreg", "commands": "subprocess"}
"""Modules of Python 2, which protocols up to 2 have."""
_OPCODES = frozenset(opcode.code for opcode in pickletools.opcodes)
_MOST_BYTES_OF_A_NESTED_PICKLE = 64 << 20
MOST_NESTED = 8
_MOST_STEPS_BESIDE = 1_000_000


@dataclass(frozen=True, slots=True)
class Imported:
    """A name that would be imported."""

    module: str
    name: str

    def __str__(self) -> str:
        return f"{self.module}.{self.name}"


_MAKE_TEXT = ("builtins", "_codecs", "functools")
_ARRAYS = Imported("joblib.numpy_pickle", "NumpyArrayWrapper")
"""Behind the state of such an object joblib reads an array, others go on with opcodes."""


@dataclass(slots=True)
class _Made:
    """What a call would return."""

    callable: object
    arguments: object
    state: object = None
    changes: int = 0
    """So many times its state was set."""


@dataclass(slots=True)
class Walk:
    """What was found by now."""

    imports: dict[Imported, int] = field(default_factory=dict)
    """What would be imported, and the first byte that says so."""
    hidden: list[int] = field(default_factory=list)
    """Bytes where something is imported whose name cannot be told."""
    changed: dict[Imported, int] = field(default_factory=dict)
    """Imported things whose own attributes would be set, for the whole process."""
    calls: int = 0
    """So many calls would be made."""
    steps: int = 0
    """Opcodes of arrays, and of pickles in their place."""
    numbers: list[int] = field(default_factory=list)
    """Whole pickles that are nothing but an integer: PyTorch begins a file with one."""


class PickleError(ValueError):
    """The opcodes cannot be followed to their end."""


def looks_like_pickle(start: bytes) -> bool:
    """Whether a file begins as a pickle of protocol 2 or later."""
    if not start.startswith(_PROTOCOLS) or len(start) < 3:
        return False
    return chr(start[2]) in _OPCODES


def walk_pickle(file: BinaryIO, found: Walk, depth: int = 0) -> None:
    """Follow one pickle from where the file is, and stay behind its end.

    Raises:
        PickleError: it does not come to an end.
    """
    _Machine(file, found, depth).run()


class _Machine:
    def __init__(
        self,
        file: BinaryIO,
        found: Walk,
        depth: int,
        is_plain: bool = False,
        is_beside: bool = False,
    ) -> None:
        self._file = file
        self._found = found
        self._depth = depth
        self._is_plain = is_plain
        """Read by Python's own reader, not by joblib's."""
        self._is_beside = is_beside
        """Read by a reader that may not be meant."""
        self._stack: list[Any] = []
        self._memo: dict[int, Any] = {}
        self._protocol = 0

    def run(self) -> None:
        if self._depth > MOST_NESTED:
            raise PickleError("pickles lie in pickles without end")
        try:
            for opcode, argument, position in pickletools.genops(self._file):
                if opcode.name == "STOP":
                    self._stopped()
                    return
                self._step(opcode, argument, position or 0)
                if self._is_plain:
                    self._found.steps += 1
                    if self._found.steps > _MOST_STEPS_BESIDE:
                        raise PickleError("arrays of joblib that are opcodes")
        except PickleError:
            raise
        # The reader of opcodes raises what it stumbles over.
        except (ValueError, IndexError, KeyError, TypeError, OverflowError, MemoryError) as error:
            raise PickleError(f"byte {self._file.tell()}: {error}") from error

    def _stopped(self) -> None:
        top = self._stack[-1]
        if isinstance(top, int) and len(self._stack) == 1:
            self._found.numbers.append(top)

    def _step(self, opcode: Any, argument: Any, position: int) -> None:
        handler = _HANDLERS.get(opcode.name)
        if handler is not None:
            handler(self, argument, position)
            return
        before = list(opcode.stack_before)
        if any(kind is pickletools.markobject for kind in before):
            self._pop_to_mark()
            for _ in before[: before.index(pickletools.markobject)]:
                self._pop()
        else:
            for _ in before:
                self._pop()
        literal = argument if isinstance(argument, str | bytes | int) else _UNKNOWN
        self._stack.extend(literal for _ in opcode.stack_after)
        if isinstance(argument, bytes | bytearray):
            self._look_into(bytes(argument))

    def _look_into(self, content: bytes) -> None:
        """Bytes may be a pickle for whoever the objects are for."""
        if len(content) > _MOST_BYTES_OF_A_NESTED_PICKLE or not looks_like_pickle(content[:3]):
            return
        import io

        inner = Walk()
        try:
            walk_pickle(io.BytesIO(content), inner, self._depth + 1)
        except PickleError:
            return
        for imported, position in inner.imports.items():
            self._found.imports.setdefault(imported, position)
        self._found.hidden += inner.hidden
        self._found.calls += inner.calls

    def _pop_to_mark(self) -> list[Any]:
        values: list[Any] = []
        while True:
            value = self._pop()
            if value is _MARK:
                values.reverse()
                return values
            values.append(value)

    def _pop(self) -> Any:
        """What is put into something else, or thrown away."""
        value = self._stack.pop()
        if value == _ARRAYS:
            # Who else than an opcode of its own makes one makes it unseen.
            raise PickleError("the class of joblib's arrays is handed on")
        return value

    def _import(self, module: object, name: object, position: int) -> object:
        if not isinstance(module, str) or not isinstance(name, str):
            # By chance, bytes of an array that are read as opcodes take anything for a name.
            if not self._is_beside or _is_text(module) or _is_text(name):
                self._found.hidden.append(position)
            return _UNKNOWN
        imported = Imported(_OLD_NAMES.get(module, module), name)
        self._found.imports.setdefault(imported, position)
        return imported

    def _call(self, callable_: object, arguments: object) -> None:
        self._found.calls += 1
        self._stack.append(_Made(callable_, arguments))

    # One method for each opcode, or kind of opcodes, that matters.

    def on_protocol(self, argument: int, _: int) -> None:
        self._protocol = argument

    def on_mark(self, *_: object) -> None:
        self._stack.append(_MARK)

    def on_pop(self, *_: object) -> None:
        self._stack.pop()

    def on_pop_mark(self, *_: object) -> None:
        self._pop_to_mark()

    def on_duplicate(self, *_: object) -> None:
        self._stack.append(self._stack[-1])

    def on_put(self, argument: int, _: int) -> None:
        self._memo[int(argument)] = self._stack[-1]

    def on_memoize(self, *_: object) -> None:
        self._memo[len(self._memo)] = self._stack[-1]

    def on_get(self, argument: int, _: int) -> None:
        self._stack.append(self._memo[int(argument)])

    def on_global(self, argument: str, position: int) -> None:
        module, _, name = argument.partition(" ")
        self._stack.append(self._import(module, name, position))

    def on_stack_global(self, _: object, position: int) -> None:
        name, module = self._stack.pop(), self._stack.pop()
        self._stack.append(self._import(module, name, position))

    def on_instance(self, argument: str, position: int) -> None:
        arguments = self._pop_to_mark()
        module, _, name = argument.partition(" ")
        self._call(self._import(module, name, position), tuple(arguments))

    def on_object(self, *_: object) -> None:
        values = self._pop_to_mark()
        self._call(values[0], tuple(values[1:]))

    def on_reduce(self, *_: object) -> None:
        arguments, callable_ = self._pop(), self._stack.pop()
        self._call(callable_, arguments)

    def on_new_object_with_names(self, *_: object) -> None:
        _names, arguments, class_ = self._pop(), self._pop(), self._stack.pop()
        self._call(class_, arguments)

    def on_extension(self, _: object, position: int) -> None:
        # A number that stands for a name in a table of the process.
        self._found.hidden.append(position)
        self._stack.append(_UNKNOWN)

    def on_build(self, *_: object) -> None:
        state = self._pop()
        made = self._stack[-1]
        if isinstance(made, Imported):
            self._note_change()
        if isinstance(made, _Made):
            if made.callable == _ARRAYS and not self._is_plain:
                self._look_beside()
                self._skip_array(state)
                self._stack[-1] = _UNKNOWN  # The array.
            elif not self._is_plain:
                made.state = state
                made.changes += 1

    def _update(self, values: list[Any]) -> None:
        # What is only read beside changes nothing.
        if isinstance(self._stack[-1], dict) and not self._is_plain:
            self._stack[-1].update(_named(values))

    def _note_change(self) -> None:
        if isinstance(self._stack[-1], Imported):
            self._found.changed.setdefault(self._stack[-1], self._file.tell())

    def on_empty_dict(self, *_: object) -> None:
        self._stack.append({})

    def on_dict(self, *_: object) -> None:
        values = self._pop_to_mark()
        self._stack.append(_named(values))

    def on_set_item(self, *_: object) -> None:
        value, key = self._pop(), self._pop()
        self._note_change()
        self._update([key, value])

    def on_set_items(self, *_: object) -> None:
        values = self._pop_to_mark()
        self._note_change()
        self._update(values)

    def on_tuple(self, *_: object) -> None:
        self._stack.append(tuple(self._pop_to_mark()))

    def on_empty_tuple(self, *_: object) -> None:
        self._stack.append(())

    def on_tuple_1(self, *_: object) -> None:
        self._tuple(1)

    def on_tuple_2(self, *_: object) -> None:
        self._tuple(2)

    def on_tuple_3(self, *_: object) -> None:
        self._tuple(3)

    def _tuple(self, count: int) -> None:
        if len(self._stack) < count:
            raise PickleError("the stack is empty")
        values = tuple(self._pop() for _ in range(count))
        self._stack.append(values[::-1])

    def _look_beside(self) -> None:
        """Python's own reader takes the bytes of an array of joblib for opcodes."""
        beside = Walk(steps=self._found.steps)
        machine = _Machine(self._file, beside, self._depth + 1, is_plain=True, is_beside=True)
        machine._stack, machine._memo = [*self._stack[:-1], _UNKNOWN], dict(self._memo)
        start = self._file.tell()
        with contextlib.suppress(PickleError):
            machine.run()
        self._file.seek(start)
        self._found.steps = beside.steps
        if beside.steps > _MOST_STEPS_BESIDE:
            raise PickleError("arrays of joblib that are opcodes")
        for imported, position in beside.imports.items():
            # Names that nobody knows come about by chance; such as do harm do not.
            if verdict(imported.module, imported.name).rule not in ("", UNKNOWN_IMPORT):
                self._found.imports.setdefault(imported, position)
        self._found.hidden += beside.hidden

    def _skip_array(self, state: object) -> None:
        """joblib: an array's bytes, or a pickle of its objects, follow among the opcodes."""
        if not isinstance(state, dict) or _UNKNOWN in state:
            raise PickleError("an array of unknown shape")
        itemsize, has_objects = _element(state.get("dtype"))
        if has_objects:
            _Machine(self._file, self._found, self._depth + 1, is_plain=True).run()
            return
        shape = state.get("shape")
        if not isinstance(shape, tuple) or not all(isinstance(each, int) for each in shape):
            raise PickleError("an array of unknown shape")
        if state.get("numpy_array_alignment_bytes", _UNKNOWN) not in (_UNKNOWN, None):
            padding = self._file.read(1)
            self._file.seek(padding[0] if padding else 0, 1)
        count = itemsize
        for each in shape:
            count *= each
        if count < 0:
            raise PickleError("an array of unknown shape")
        self._file.seek(count, 1)


def _is_text(made: object) -> bool:
    """Whether a call makes it that may return text."""
    if not isinstance(made, _Made):
        return False
    return not isinstance(made.callable, Imported) or made.callable.module in _MAKE_TEXT


def _element(made: object) -> tuple[int, bool]:
    """Bytes of an element of a `numpy.dtype` that would be made, and whether it has objects."""
    if (
        not isinstance(made, _Made)
        or made.callable != Imported("numpy", "dtype")
        or made.changes > 1
    ):
        raise PickleError("an array of unknown type")
    arguments = made.arguments
    code = arguments[0] if isinstance(arguments, tuple) and arguments else None
    if not isinstance(code, str) or not code[:1].isalpha() or "," in code:
        raise PickleError("an array of unknown type")
    try:
        element = np.dtype(code)
    except (TypeError, ValueError) as error:
        raise PickleError("an array of unknown type") from error
    return _size(element, made.state), element.hasobject or _has_objects(made.state)


def _size(element: np.dtype, state: object) -> int:
    """Bytes of an element: the state of strings and structures has them once more."""
    if state is None or element.kind not in "SUV":
        return element.itemsize
    if not isinstance(state, tuple) or len(state) < 7 or state[5] != element.itemsize:
        raise PickleError("an array of unknown type")
    return element.itemsize


def _has_objects(state: object) -> bool:
    """Whether a structured type has a field of objects: `(version, order, subtype, names, ...)`."""
    if not isinstance(state, tuple) or len(state) < 5 or not isinstance(state[4], dict):
        return False
    parts = (each[0] for each in state[4].values() if isinstance(each, tuple) and each)
    return any(_element(part)[1] for part in parts if isinstance(part, _Made))


def _named(values: list[Any]) -> dict[Any, Any]:
    pairs = zip(values[::2], values[1::2], strict=False)
    return {key if isinstance(key, str) else _UNKNOWN: value for key, value in pairs}


_Handler = Callable[[_Machine, Any, int], None]
_HANDLERS: dict[str, _Handler] = {
    "PROTO": _Machine.on_protocol, "MARK": _Machine.on_mark, "POP": _Machine.on_pop,
    "POP_MARK": _Machine.on_pop_mark, "DUP": _Machine.on_duplicate, "PUT": _Machine.on_put,
    "BINPUT": _Machine.on_put, "LONG_BINPUT": _Machine.on_put, "MEMOIZE": _Machine.on_memoize,
    "GET": _Machine.on_get, "BINGET": _Machine.on_get, "LONG_BINGET": _Machine.on_get,
    "GLOBAL": _Machine.on_global, "STACK_GLOBAL": _Machine.on_stack_global,
    "INST": _Machine.on_instance, "OBJ": _Machine.on_object, "REDUCE": _Machine.on_reduce,
    "NEWOBJ": _Machine.on_reduce, "NEWOBJ_EX": _Machine.on_new_object_with_names,
    "BUILD": _Machine.on_build, "EXT1": _Machine.on_extension, "EXT2": _Machine.on_extension,
    "EXT4": _Machine.on_extension, "EMPTY_DICT": _Machine.on_empty_dict, "DICT": _Machine.on_dict,
    "SETITEM": _Machine.on_set_item, "SETITEMS": _Machine.on_set_items,
    "TUPLE": _Machine.on_tuple, "EMPTY_TUPLE": _Machine.on_empty_tuple,
    "TUPLE1": _Machine.on_tuple_1, "TUPLE2": _Machine.on_tuple_2, "TUPLE3": _Machine.on_tuple_3,
}  # fmt: skip


def walk_all(file: BinaryIO, found: Walk) -> Iterator[int]:
    """Follow pickle after pickle, as some files hold several; yields where each ends.

    Raises:
        PickleError: one does not come to an end.
    """
    while True:
        walk_pickle(file, found)
        end = file.tell()
        yield end
        start = file.read(3)
        file.seek(end)
        if not looks_like_pickle(start):
            return
