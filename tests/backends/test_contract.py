"""The contract, loader by loader, inside this process; `test_contract_served.py` has the rest."""

import json
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from salver.cli.main import main
from salver.core.data_type import data_type_of
from salver.core.servable import Loader, Program, Servable
from salver.core.signature import Signature
from salver.errors import Code, ServingError
from tests.backends.contract import BackendCase, assert_alike, loader_of
from tests.backends.made import Made

Run = Callable[[Mapping[str, np.ndarray]], dict[str, np.ndarray]]


@pytest.fixture
def case(made: Made) -> BackendCase:
    return made.case


@pytest.fixture
def loader(made: Made) -> Iterator[Loader]:
    loader = loader_of(made.case.platform, str(made.version(1)))
    yield loader
    loader.unload()


@pytest.fixture
def servable(loader: Loader) -> Servable:
    return loader.load()


@pytest.fixture
def signature(servable: Servable) -> Signature:
    return servable.signatures["serving_default"]


def program_of(servable: Servable, signature: Signature) -> Program:
    feeds = tuple(spec.name for spec in signature.inputs.values())
    fetches = tuple(spec.name for spec in signature.outputs.values())
    return servable.program(feeds, fetches)


@pytest.fixture
def run(servable: Servable, signature: Signature) -> Run:
    program = program_of(servable, signature)

    def run(inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        outputs = program.run([inputs[alias] for alias in signature.inputs])
        return dict(zip(signature.outputs, outputs, strict=True))

    return run


def some_rows(case: BackendCase, rows: np.ndarray) -> dict[str, np.ndarray]:
    return {alias: array[rows] for alias, array in case.inputs.items()}


def test_the_default_signature_is_what_is_fed_and_answered(
    made: Made, signature: Signature
) -> None:
    answers = made.answers(1)
    assert set(signature.inputs) == set(made.case.inputs)
    assert set(signature.outputs) == set(answers)
    specs = {**signature.inputs, **{f"output {name}": s for name, s in signature.outputs.items()}}
    arrays = {**made.case.inputs, **{f"output {name}": a for name, a in answers.items()}}
    for alias, spec in specs.items():
        assert spec.data_type is data_type_of(arrays[alias].dtype), alias
        assert spec.shape is None or len(spec.shape) == arrays[alias].ndim, alias
        assert spec.shape is None or spec.shape[0] == -1, alias
    assert signature.method_name == "tensorflow/serving/predict"


def test_the_answer_is_the_framework_s_own(made: Made, run: Run) -> None:
    assert_alike(run(made.case.inputs), made.answers(1), made.case)


def test_the_command_run_answers_the_same(
    made: Made, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    # Strings of a fixed width are no pickle.
    fixed: dict[str, Any] = {
        name: array.astype(np.bytes_) if array.dtype.kind == "O" else array
        for name, array in made.case.inputs.items()
    }
    np.savez(tmp_path / "rows.npz", **fixed)
    inputs = ";".join(f"{name}={tmp_path}/rows.npz[{name}]" for name in fixed)
    model = [f"--dir={made.version(1)}", f"--model_platform={made.case.platform}"]
    consent = ["--allow_pickle", "--allow_python_code"]

    code = main(["run", *model, *consent, f"--inputs={inputs}", f"--outdir={tmp_path / 'out'}"])

    assert code == 0, capsys.readouterr().err
    expected = made.answers(1)
    found = {path.stem: np.load(path) for path in (tmp_path / "out").iterdir()}
    found = {name: a.astype(object) if a.dtype.kind == "S" else a for name, a in found.items()}
    assert_alike(found, expected, made.case)
    shown = capsys.readouterr().out
    assert all(f"Result for output key {name}:\n" in shown for name in expected)

    code = main(["run", *model, *consent, f"--inputs={inputs}", "--debug"])
    debugged = capsys.readouterr()
    if made.case.platform in ("tensorflow", "onnx"):
        assert code == 0, debugged.err
        assert "Tensors in the order in which they were computed" in debugged.out
    else:
        assert code == 2
        assert f"is a model of {made.case.platform}" in debugged.err


def test_no_rows_give_no_rows_or_a_clear_error(case: BackendCase, run: Run) -> None:
    try:
        outputs = run(some_rows(case, np.arange(0)))
    except ServingError as error:
        assert error.code is Code.INVALID_ARGUMENT  # noqa: PT017 - both are fine
    else:
        assert {len(array) for array in outputs.values()} == {0}


def test_many_rows_come_back_in_order(made: Made, run: Run) -> None:
    rows = np.random.default_rng(1).integers(0, made.case.rows, 3000)

    found = run(some_rows(made.case, rows))

    expected = {alias: array[rows] for alias, array in made.answers(1).items()}
    assert_alike(found, expected, made.case)


def test_one_output_may_be_fetched_twice(
    made: Made, servable: Servable, signature: Signature
) -> None:
    feeds = tuple(spec.name for spec in signature.inputs.values())
    alias, spec = next(iter(signature.outputs.items()))

    twice = servable.program(feeds, (spec.name, spec.name))

    first, second = twice.run([made.case.inputs[name] for name in signature.inputs])
    assert_alike({alias: first}, {alias: made.answers(1)[alias]}, made.case)
    assert_alike({alias: second}, {alias: first}, made.case)


def test_an_array_of_another_type_is_an_invalid_argument(case: BackendCase, run: Run) -> None:
    for alias, array in case.inputs.items():
        other = np.zeros(array.shape, np.complex64)

        with pytest.raises(ServingError) as raised:
            run({**case.inputs, alias: other})

        assert raised.value.code is Code.INVALID_ARGUMENT
        assert case.own_checks or f'input "{alias}"' in raised.value.message


def test_an_array_of_another_shape_is_an_invalid_argument(
    case: BackendCase, signature: Signature, run: Run
) -> None:
    for alias, array in case.inputs.items():
        if case.own_checks or signature.inputs[alias].shape is None:
            continue

        with pytest.raises(ServingError) as raised:
            run({**case.inputs, alias: array[..., np.newaxis]})

        assert raised.value.code is Code.INVALID_ARGUMENT
        assert f'input "{alias}"' in raised.value.message


def test_after_an_error_the_program_still_computes(made: Made, run: Run) -> None:
    with pytest.raises(ServingError):
        run({alias: np.zeros(len(a), np.complex64) for alias, a in made.case.inputs.items()})

    assert_alike(run(made.case.inputs), made.answers(1), made.case)


def test_inputs_that_cannot_be_written_to_are_fine(made: Made, run: Run) -> None:
    inputs = {alias: array.copy() for alias, array in made.case.inputs.items()}
    for array in inputs.values():
        array.flags.writeable = False

    assert_alike(run(inputs), made.answers(1), made.case)


def test_inputs_that_do_not_lie_in_order_are_fine(made: Made, run: Run) -> None:
    inputs = {alias: array[::-1] for alias, array in made.case.inputs.items()}

    expected = {alias: array[::-1] for alias, array in made.answers(1).items()}
    assert_alike(run(inputs), expected, made.case)


def test_an_unknown_tensor_is_an_error_of_the_run(servable: Servable) -> None:
    program = servable.program(("nowhere:0",), ("nothing:0",))

    with pytest.raises(ServingError) as raised:
        program.run([np.array([1], np.float32)])

    assert raised.value.code is Code.INVALID_ARGUMENT


def test_threads_run_while_other_versions_come_and_go(made: Made, run: Run) -> None:
    expected = made.answers(1)

    def come_and_go() -> None:
        for variant in (2, 1, 2):
            other = loader_of(made.case.platform, str(made.version(variant)))
            other.load()
            other.unload()

    def answer(number: int) -> None:
        for row in range(20):
            rows = np.array([(number + row) % made.case.rows] * (number % 3 + 1))
            found = run(some_rows(made.case, rows))
            assert_alike(found, {name: array[rows] for name, array in expected.items()}, made.case)

    with ThreadPoolExecutor(5) as threads:
        loads = threads.submit(come_and_go)
        list(threads.map(answer, range(20)))
        loads.result()


def test_two_versions_side_by_side_answer_each_for_itself(made: Made, run: Run) -> None:
    other = loader_of(made.case.platform, str(made.version(2)))
    try:
        servable = other.load()
        signature = servable.signatures["serving_default"]
        outputs = program_of(servable, signature).run(
            [made.case.inputs[a] for a in signature.inputs]
        )
        assert_alike(dict(zip(signature.outputs, outputs, strict=True)), made.answers(2), made.case)
        assert_alike(run(made.case.inputs), made.answers(1), made.case)
    finally:
        other.unload()


def test_a_loader_may_load_once_its_model_is_there(made: Made, tmp_path: Path) -> None:
    place = tmp_path / "1"
    place.mkdir()
    loader = loader_of(made.case.platform, str(place))
    with pytest.raises(ServingError) as raised:
        loader.load()
    assert raised.value.code is Code.NOT_FOUND

    place.rmdir()
    place.symlink_to(made.version(1))

    assert "serving_default" in loader.load().signatures
    loader.unload()


def test_what_never_loaded_can_be_unloaded(case: BackendCase) -> None:
    loader = loader_of(case.platform, "/nowhere")

    loader.unload()
    loader.unload()


def test_a_program_of_an_unloaded_version_only_fails(made: Made, run: Run, loader: Loader) -> None:
    loader.unload()

    with pytest.raises(ServingError):
        run(made.case.inputs)


def test_its_signature_is_shown(made: Made, capfd: pytest.CaptureFixture[str]) -> None:
    allowed = ["--allow_pickle", "--allow_python_code", "--json"]

    code = main(["show", str(made.version(1)), *allowed])

    (shown,) = json.loads(capfd.readouterr().out)["versions"]
    assert code == 0
    assert shown["backend"] == made.case.platform
    signature = shown["signatures"]["serving_default"]
    assert signature["inputs"].keys() >= made.case.inputs.keys()
    assert signature["outputs"].keys() >= made.answers(1).keys()
    # Of a TFLite file that has been read by no converter, of TorchScript and of Python code
    # nobody knows.
    assert shown["written_by"] or made.case.platform in ("tflite", "pytorch", "python")
    assert made.case.model_file in {file["name"] for file in shown["files"]}
