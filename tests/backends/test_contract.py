from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from salver.core.data_type import DataType
from salver.core.servable import Loader, Program, Servable
from salver.errors import Code, ServingError
from tests.backends.contract import CASES, BackendCase
from tests.saved_models import version_path


@pytest.fixture(params=CASES, ids=lambda case: case.model)
def case(request: pytest.FixtureRequest) -> BackendCase:
    backend_case: BackendCase = request.param
    return backend_case


@pytest.fixture
def path(case: BackendCase, request: pytest.FixtureRequest) -> str:
    return version_path(request.getfixturevalue(case.folder), case.model)


@pytest.fixture
def loader(case: BackendCase, path: str) -> Iterator[Loader]:
    loader = case.loader(path)
    yield loader
    loader.unload()


@pytest.fixture
def servable(loader: Loader) -> Servable:
    return loader.load()


@pytest.fixture
def program(servable: Servable) -> Program:
    signature = servable.signatures["serving_default"]
    return servable.program((signature.inputs["x"].name,), (signature.outputs["y"].name,))


def test_the_default_signature_has_names_types_and_shapes(servable: Servable) -> None:
    signature = servable.signatures["serving_default"]

    assert list(signature.inputs) == ["x"]
    assert list(signature.outputs) == ["y"]
    assert signature.inputs["x"].data_type is DataType.FLOAT
    assert signature.inputs["x"].shape == (-1,)


def test_a_program_computes(program: Program) -> None:
    (y,) = program.run([np.array([1, 2, 5], np.float32)])

    np.testing.assert_array_equal(y, np.array([2.5, 3.0, 4.5], np.float32))
    assert y.dtype == np.float32


def test_no_rows_give_no_rows(program: Program) -> None:
    (y,) = program.run([np.zeros([0], np.float32)])

    assert y.shape == (0,)


def test_many_rows_come_back_in_order(program: Program) -> None:
    x = np.arange(100_000, dtype=np.float32)

    (y,) = program.run([x])

    np.testing.assert_array_equal(y, x / 2 + 2)


def test_one_output_may_be_fetched_twice(servable: Servable) -> None:
    signature = servable.signatures["serving_default"]
    y = signature.outputs["y"].name

    twice = servable.program((signature.inputs["x"].name,), (y, y))

    assert [list(array) for array in twice.run([np.array([4], np.float32)])] == [[4.0], [4.0]]


def test_an_array_of_another_type_is_an_invalid_argument(program: Program) -> None:
    with pytest.raises(ServingError) as raised:
        program.run([np.array([1, 2], np.int32)])

    assert raised.value.code is Code.INVALID_ARGUMENT


def test_after_an_error_the_program_still_computes(program: Program) -> None:
    with pytest.raises(ServingError):
        program.run([np.array([b"text"], object)])

    assert program.run([np.array([2], np.float32)])[0][0] == 3.0


def test_an_unknown_tensor_is_an_error_of_the_run(servable: Servable) -> None:
    program = servable.program(("nowhere:0",), ("nothing:0",))

    with pytest.raises(ServingError) as raised:
        program.run([np.array([1], np.float32)])

    assert raised.value.code is Code.INVALID_ARGUMENT


def test_several_threads_run_one_program(program: Program) -> None:
    def answer(number: int) -> bool:
        x = np.full(number % 7 + 1, number, np.float32)
        return all((program.run([x])[0] == x / 2 + 2).all() for _ in range(50))

    with ThreadPoolExecutor(4) as threads:
        assert all(threads.map(answer, range(40)))


def test_threads_run_while_other_versions_come_and_go(
    program: Program, case: BackendCase, path: str
) -> None:
    def come_and_go() -> None:
        for _ in range(5):
            other = case.loader(path)
            other.load()
            other.unload()

    def answer(number: int) -> bool:
        x = np.full(3, number, np.float32)
        return all((program.run([x])[0] == x / 2 + 2).all() for _ in range(200))

    with ThreadPoolExecutor(5) as threads:
        loads = threads.submit(come_and_go)
        answers = list(threads.map(answer, range(20)))
        loads.result()

    assert all(answers)


def test_a_loader_may_load_once_its_model_is_there(
    case: BackendCase, tmp_path: Path, path: str
) -> None:
    place = tmp_path / "1"
    place.mkdir()
    loader = case.loader(str(place))
    with pytest.raises(ServingError) as raised:
        loader.load()
    assert raised.value.code is Code.NOT_FOUND

    place.rmdir()
    place.symlink_to(path)

    assert "serving_default" in loader.load().signatures
    loader.unload()


def test_what_never_loaded_can_be_unloaded(case: BackendCase) -> None:
    loader = case.loader("/nowhere")

    loader.unload()
    loader.unload()


def test_a_program_of_an_unloaded_version_only_fails(program: Program, loader: Loader) -> None:
    loader.unload()

    with pytest.raises(ServingError):
        program.run([np.array([1], np.float32)])
