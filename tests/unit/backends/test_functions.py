from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from salver.backends.functions import FunctionServable, tensor
from salver.core.servable import Program
from salver.core.signature import Signature
from salver.errors import InternalError, InvalidArgument, ServingError, Unavailable

X = np.array([1, 2], np.float32)
K = np.array([3, 4], np.int64)


def servable_of(function: Any) -> FunctionServable:
    signature = Signature(
        "serving_default",
        {"x": tensor(np.float32, (-1,)), "k": tensor(np.int64, (-1,))},
        {"sum": tensor(np.float32, (-1,)), "text": tensor(np.object_, (-1,))},
    )
    return FunctionServable("m", [(signature, function)])


def program_of(servable: FunctionServable, feeds: Sequence[str], fetches: Sequence[str]) -> Program:
    signature = servable.signatures["serving_default"]
    return servable.program(
        tuple(signature.inputs[name].name for name in feeds),
        tuple(signature.outputs[name].name for name in fetches),
    )


def add(arrays: Sequence[np.ndarray]) -> list[Any]:
    x, k = arrays
    return [x + k, [str(number) for number in k]]


def answer(function: Any) -> list[np.ndarray]:
    return program_of(servable_of(function), ["x", "k"], ["sum", "text"]).run([X, K])


def test_feeds_and_fetches_come_in_any_order() -> None:
    program = program_of(servable_of(add), ["k", "x"], ["text", "sum", "text"])

    text, total, again = program.run([K, X])

    assert total.tolist() == [4, 6]
    assert total.dtype == np.float32
    assert text.tolist() == again.tolist() == [b"3", b"4"]


def test_signatures_do_not_share_names() -> None:
    specs = {"x": tensor(np.float32, None)}
    servable = FunctionServable(
        "m", [(Signature(name, specs, specs), lambda arrays: arrays) for name in ("a", "b")]
    )

    names = [
        spec.name
        for signature in servable.signatures.values()
        for spec in (*signature.inputs.values(), *signature.outputs.values())
    ]
    assert len(set(names)) == 4


@pytest.mark.parametrize(
    ("raised", "kind", "message"),
    [
        (ValueError("too long"), InvalidArgument, "too long"),
        (Unavailable("later"), Unavailable, "later"),
        (KeyError("x"), InternalError, "KeyError: 'x'"),
    ],
)
def test_errors_get_their_codes(raised: Exception, kind: type[ServingError], message: str) -> None:
    def fail(arrays: Sequence[np.ndarray]) -> list[Any]:
        raise raised

    with pytest.raises(kind, match=message):
        answer(fail)


@pytest.mark.parametrize(
    ("outputs", "message"),
    [
        ([X], "2 outputs are declared, 1 were computed"),
        ([np.array([1j]), []], 'output "sum" is declared as float32, but complex128 was computed'),
        ([np.array(["a"]), []], 'output "sum" is declared as float32, but <U1 was computed'),
        ([X, X], 'output "text" is declared as object, but float32 was computed'),
        ([X, [3, "a", None]], 'output "text" is declared as object, but int was computed'),
    ],
)
def test_outputs_are_what_is_declared(outputs: list[Any], message: str) -> None:
    with pytest.raises(InternalError) as raised:
        answer(lambda arrays: outputs)

    assert message in raised.value.message


def test_a_closed_servable_holds_nothing_and_answers_nothing() -> None:
    servable = servable_of(add)
    program = program_of(servable, ["x", "k"], ["sum"])

    servable.close()

    with pytest.raises(Unavailable):
        program.run([X, K])
