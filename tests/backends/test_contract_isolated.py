"""Every backend in a worker process: the same answers and errors as inside the server."""

from collections.abc import Callable, Iterator
from functools import partial

import numpy as np
import pytest
from tensorflow_serving.apis.get_model_metadata_pb2 import SignatureDefMap

from salver.core.servable import ServableId
from salver.errors import Code, ServingError
from salver.isolation.loader import IsolatedLoader, IsolatedServable, IsolationOptions
from tests.backends.contract import Arrays, assert_alike, loader_of
from tests.backends.made import Made

Run = Callable[[Arrays], Arrays]


@pytest.fixture
def servable(made: Made) -> Iterator[IsolatedServable]:
    make = partial(loader_of, made.case.platform, str(made.version(1)))
    loader = IsolatedLoader(ServableId("m", 1), make, IsolationOptions())
    yield loader.load()
    loader.unload()


def test_it_answers_and_refuses_as_it_does_inside(made: Made, servable: IsolatedServable) -> None:
    inside = loader_of(made.case.platform, str(made.version(1)))
    try:
        expected = inside.load()
        assert servable.signatures == expected.signatures
        # Maps have no order: a model that was converted twice may have two.
        shown, inside_shown = (
            SignatureDefMap.FromString(each.signature_def_map) for each in (servable, expected)
        )
        assert shown == inside_shown
    finally:
        inside.unload()
    signature = servable.signatures["serving_default"]
    program = servable.program(
        tuple(spec.name for spec in signature.inputs.values()),
        tuple(spec.name for spec in signature.outputs.values()),
    )

    def run(inputs: Arrays) -> Arrays:
        outputs = program.run([inputs[alias] for alias in signature.inputs])
        return dict(zip(signature.outputs, outputs, strict=True))

    answers = made.answers(1)
    assert_alike(run(dict(made.case.inputs)), answers, made.case)
    # So many that they go through shared memory.
    rows = np.random.default_rng(1).integers(0, made.case.rows, 20_000)
    many = run({alias: array[rows] for alias, array in made.case.inputs.items()})
    assert_alike(many, {name: array[rows] for name, array in answers.items()}, made.case)
    for alias, array in made.case.inputs.items():
        with pytest.raises(ServingError) as raised:
            run({**made.case.inputs, alias: np.zeros(array.shape, np.complex64)})
        assert raised.value.code is Code.INVALID_ARGUMENT
    assert_alike(run(dict(made.case.inputs)), answers, made.case)
