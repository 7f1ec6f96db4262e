import logging
import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import psutil
import pytest

from salver.backends import tensorflow as tensorflow_backend
from salver.backends.tensorflow import (
    SavedModelServable,
    TensorFlowLoader,
    TensorFlowOptions,
    _ProgramWithBatchesApart,
    estimated_bytes,
)
from salver.backends.tensorflow_library import find_library
from salver.codecs.messages import message_class
from salver.core.data_type import DataType, data_type_of
from salver.core.servable import TraceableProgram
from salver.errors import (
    DataLoss,
    FailedPrecondition,
    InvalidArgument,
    NotFound,
    ServingError,
    Unimplemented,
)
from tests.saved_models import ECHO_TYPES, INPUTS, answers_of, version_path

SHARED = Path(__file__).resolve().parents[2].parent / "shared"
QUESTIONS = [
    (model, signature)
    for model, inputs in INPUTS.items()
    for signature in inputs
    if model != "custom_op"
]

Load = Callable[..., SavedModelServable]


@pytest.fixture
def load(saved_model_folder: Path) -> Iterator[Load]:
    """Loads a test model by name, or whatever lies at a path, and unloads it after the test."""
    loaders = []

    def load(model: str | Path, options: TensorFlowOptions | None = None) -> SavedModelServable:
        path = version_path(saved_model_folder, model) if isinstance(model, str) else str(model)
        loaders.append(TensorFlowLoader(path, options))
        return loaders[-1].load()

    yield load
    for loader in loaders:
        loader.unload()


def ask(
    servable: SavedModelServable, inputs: dict[str, np.ndarray], name: str = "serving_default"
) -> dict[str, np.ndarray]:
    signature = servable.signatures[name]
    feeds = tuple(signature.inputs[alias].name for alias in inputs)
    fetches = tuple(spec.name for spec in signature.outputs.values())
    arrays = servable.program(feeds, fetches).run(list(inputs.values()))
    return dict(zip(signature.outputs, arrays, strict=True))


@pytest.mark.parametrize("expects_batches", [False, True])
@pytest.mark.parametrize(("model", "signature"), QUESTIONS)
def test_the_answers_are_those_of_tensorflow(
    load: Load, saved_model_folder: Path, model: str, signature: str, expects_batches: bool
) -> None:
    inputs, expected = answers_of(saved_model_folder, model)[signature]

    outputs = ask(
        load(model, TensorFlowOptions(expects_batches=expects_batches)), inputs, signature
    )

    assert outputs.keys() == expected.keys()
    for alias, array in outputs.items():
        assert array.shape == expected[alias].shape
        if array.dtype.kind == "f":
            np.testing.assert_allclose(array, expected[alias], rtol=1e-6)
        elif array.dtype.hasobject:
            assert array.tolist() == expected[alias].tolist()
        else:  # TensorFlow's own arrays of quantized numbers have plain types
            assert array.tobytes() == expected[alias].tobytes()


@pytest.mark.parametrize("name", ECHO_TYPES)
def test_every_type_keeps_its_bytes_both_ways(load: Load, name: str) -> None:
    array = ECHO_TYPES[name]

    servable = load("echo")
    output = ask(servable, {"x": array}, name)["y"]

    assert servable.signatures[name].inputs["x"].data_type is data_type_of(array.dtype)
    assert output.dtype == array.dtype
    assert output.tolist() == array.tolist()


@pytest.mark.parametrize("threads", [1, 2])
def test_a_pool_of_threads_gives_the_same_answers(load: Load, threads: int) -> None:
    servable = load("loops", TensorFlowOptions(inter_op_threads=threads))

    assert ask(servable, {"n": np.array(27, np.int64)})["steps"] == 111


def test_text_of_any_length_and_content_comes_back(load: Load) -> None:
    texts = np.empty((3, 2), object)
    texts[:] = [[b"", b"\0\0"], [b"z" * 1_000_000, b"one"], [b"\xf0\x9f", b"q" * 23]]

    assert ask(load("echo"), {"x": texts}, "string")["y"].tolist() == texts.tolist()


@pytest.mark.parametrize(
    "texts",
    [
        pytest.param(np.array([[b"a", b"bc"]]), id="fixed-width bytes"),
        pytest.param(np.array([["a", "bc"]]), id="fixed-width text"),
        pytest.param(np.array([["a", "bc"]], object), id="text objects"),
    ],
)
def test_other_arrays_of_text_are_taken_too(load: Load, texts: np.ndarray) -> None:
    assert ask(load("echo"), {"x": texts}, "string")["y"].tolist() == [[b"a", b"bc"]]


def test_an_object_that_is_no_text_is_refused(load: Load) -> None:
    with pytest.raises(InvalidArgument, match="not float"):
        ask(load("echo"), {"x": np.array([b"a", 1.5, None], object)}, "string")


def test_an_array_without_a_tensor_type_is_refused(load: Load) -> None:
    with pytest.raises(InvalidArgument, match="datetime64"):
        ask(load("echo"), {"x": np.array(["2020-01-01"], "datetime64[D]")}, "int64")


@pytest.mark.parametrize(
    "array",
    [
        pytest.param(np.arange(6.0)[::2], id="strided"),
        pytest.param(np.arange(6.0).reshape(2, 3).T, id="transposed"),
        pytest.param(np.arange(6.0).astype(">f8"), id="big-endian"),
        pytest.param(np.array(3.0), id="scalar"),
        pytest.param(np.zeros((0, 3)), id="empty"),
        pytest.param(np.arange(100_000.0), id="large"),
        pytest.param(np.frombuffer(bytearray(8 * 9000 + 1), np.float64, 9000, 1), id="unaligned"),
        pytest.param(np.arange(3.0).view(np.recarray).view(np.matrix), id="subclass"),
    ],
)
def test_arrays_of_any_layout_are_taken(load: Load, array: np.ndarray) -> None:
    output = ask(load("echo"), {"x": array}, "float64")["y"]

    np.testing.assert_array_equal(output, array)


def aligned(count: int) -> np.ndarray:
    """Zeros at an address divisible by 64."""
    memory = np.zeros(count * 4 + 64, np.uint8)
    start = -memory.ctypes.data % 64
    return memory[start : start + count * 4].view(np.float32)


def test_a_large_aligned_array_is_shared_and_given_back(load: Load) -> None:
    array = aligned(100_000)
    before = sys.getrefcount(array)
    servable = load("echo")

    output = ask(servable, {"x": array}, "float32")["y"]
    assert np.shares_memory(output, array)
    del output

    assert sys.getrefcount(array) == before


def test_outputs_outlive_the_version_that_made_them(saved_model_folder: Path) -> None:
    loader = TensorFlowLoader(version_path(saved_model_folder, "half_plus_two_1"))
    (output,) = ask(loader.load(), {"x": np.ones(100_000, np.float32)}).values()

    loader.unload()

    assert (output == 2.5).all()


def test_state_changes_with_each_call_and_belongs_to_one_version(load: Load) -> None:
    first, second = load("counter"), load("counter")

    counts = [int(ask(first, {"by": np.array(by, np.int64)})["count"]) for by in (1, 10, 100)]

    assert counts == [1, 11, 111]
    assert ask(second, {"by": np.array(5, np.int64)})["count"] == 5


def test_the_graph_is_optimised_by_the_load_and_not_by_the_first_request(
    load: Load, monkeypatch: pytest.MonkeyPatch
) -> None:
    def first_run_s() -> float:
        servable = load("keras")
        image = np.zeros((1, 8, 8, 1), np.float32)
        started = time.thread_time()
        ask(servable, {"image": image})
        return time.thread_time() - started

    first_run_s()  # What the process does once counts for neither.
    prepared_s = min(first_run_s() for _ in range(3))
    monkeypatch.setattr(SavedModelServable, "prepare", lambda servable: None)
    assert prepared_s < first_run_s() / 2


@pytest.mark.parametrize("rows", [0, 1, 6, 7, 8, 96, 97, 200])
def test_batches_that_run_apart_hear_what_others_hear(load: Load, rows: int) -> None:
    images = np.random.default_rng(1).random((rows, 8, 8, 1), np.float32)
    alone = ask(load("keras"), {"image": images})
    apart = ask(load("keras", TensorFlowOptions(expects_batches=True)), {"image": images})
    assert alone.keys() == apart.keys()
    for name, values in alone.items():
        np.testing.assert_allclose(apart[name], values, rtol=1e-5, atol=1e-6)


def test_a_model_with_state_has_it_once_for_all_batches(load: Load) -> None:
    servable = load("counter", TensorFlowOptions(expects_batches=True))
    counts = [int(ask(servable, {"by": np.array(by, np.int64)})["count"]) for by in (1, 10, 100)]
    assert counts == [1, 11, 111]


def test_only_small_models_have_their_weights_twice(
    load: Load, monkeypatch: pytest.MonkeyPatch
) -> None:
    def is_apart() -> bool:
        servable = load("keras", TensorFlowOptions(expects_batches=True))
        signature = servable.signatures["serving_default"]
        program = servable.program(
            tuple(spec.name for spec in signature.inputs.values()),
            tuple(spec.name for spec in signature.outputs.values()),
        )
        return isinstance(program, _ProgramWithBatchesApart)

    assert is_apart()
    monkeypatch.setattr(tensorflow_backend, "_MOST_BYTES_APART", 1000)
    assert not is_apart()


def test_the_executor_of_batches_is_optimised_by_the_load_too(
    load: Load, monkeypatch: pytest.MonkeyPatch
) -> None:
    def first_batch_s() -> float:
        servable = load("keras", TensorFlowOptions(expects_batches=True))
        images = np.zeros((8, 8, 8, 1), np.float32)
        started = time.thread_time()
        ask(servable, {"image": images})
        return time.thread_time() - started

    first_batch_s()
    prepared_s = min(first_batch_s() for _ in range(3))
    monkeypatch.setattr(SavedModelServable, "prepare", lambda servable: None)
    assert prepared_s < first_batch_s() / 2


@pytest.mark.parametrize(
    ("model", "signature", "inputs", "message"),
    [
        pytest.param(
            "half_plus_two_1",
            "serving_default",
            {"x": np.array([1], np.int32)},
            "Expects arg[0] to be float but int32 is provided",
            id="type",
        ),
        pytest.param(
            "loops",
            "serving_default",
            {"n": np.array(-1, np.int64)},
            "n must be above zero",
            id="assertion",
        ),
        pytest.param(
            "several",
            "serving_default",
            {
                "matrix": np.ones((2, 3), np.float32),
                "vector": np.ones(2, np.float32),
                "label": np.array(b"", object),
            },
            "Matrix size-incompatible",
            id="shape",
        ),
    ],
)
def test_errors_of_a_run_are_in_tensorflows_words(
    load: Load, model: str, signature: str, inputs: dict[str, np.ndarray], message: str
) -> None:
    with pytest.raises(InvalidArgument) as raised:
        ask(load(model), inputs, signature)

    assert message in raised.value.message


@pytest.mark.parametrize(
    ("feeds", "fetches", "status"),
    [
        pytest.param(
            ("x:0",),
            ("gone",),
            "INVALID_ARGUMENT: Tensor gone:0, specified in either feed_devices or fetch_devices "
            "was not found in the Graph",
            id="unknown",
        ),
        pytest.param(
            ("x:0",),
            ("y:5",),
            "OUT_OF_RANGE: Node 'y' (type: 'AddV2', num of outputs: 1) does not have output 5",
            id="fetch of no output",
        ),
        pytest.param(
            ("x:3",),
            ("y:0",),
            "OUT_OF_RANGE: Node 'x' (type: 'Placeholder', num of outputs: 1) "
            "does not have output 3",
            id="feed of no output",
        ),
        pytest.param(
            ("x:0", "x:0"),
            ("y:0",),
            'INVALID_ARGUMENT: Endpoint "x:0" fed more than once.',
            id="fed twice",
        ),
        pytest.param(
            ("x:0",), ("x:0",), "INVALID_ARGUMENT: x:0 is both fed and fetched.", id="fed, fetched"
        ),
        pytest.param(
            (),
            ("y:0",),
            "INVALID_ARGUMENT: You must feed a value for placeholder tensor 'x' with dtype float "
            "and shape [?]\n\t [[{{node x}}]]",
            id="not fed",
        ),
        pytest.param(
            ("x:0",),
            (),
            "INVALID_ARGUMENT: Must specify at least one target to fetch or execute.",
            id="nothing fetched",
        ),
        pytest.param(
            ("x:99999999999999999999",),
            ("y:0",),
            "INVALID_ARGUMENT: Tensor x:99999999999999999999:0, specified in either feed_devices "
            "or fetch_devices was not found in the Graph",
            id="absurd number",
        ),
    ],
)
def test_wrong_tensor_names_fail_at_the_run_in_tensorflows_words(
    load: Load, feeds: tuple[str, ...], fetches: tuple[str, ...], status: str
) -> None:
    program = load("half_plus_two_1").program(feeds, fetches)

    with pytest.raises(ServingError) as raised:
        program.run([np.array([1], np.float32)] * len(feeds))

    assert raised.value.status == status


def test_a_table_is_not_a_result(load: Load) -> None:
    program = load("lookup").program((), ("hash_table:0",))

    with pytest.raises(Unimplemented, match="type 20 has no values"):
        program.run([])


def test_the_wrong_number_of_arrays_is_refused(load: Load) -> None:
    program = load("half_plus_two_1").program(("x:0",), ("y:0",))

    with pytest.raises(ValueError, match="2 arrays for 1 feeds"):
        program.run([np.array([1], np.float32)] * 2)


def test_more_tensors_than_fit_the_stack_are_run_too(load: Load) -> None:
    program = load("half_plus_two_1").program(("x:0",), ("y:0",) * 100)

    assert [array[0] for array in program.run([np.array([6], np.float32)])] == [5.0] * 100


def test_denormal_numbers_count_as_zero_in_the_thread_of_the_caller(load: Load) -> None:
    tiny = np.array([1e-40], np.float32)
    loaded = load("several")
    inputs = {
        "matrix": tiny[None],
        "vector": np.array([1], np.float32),
        "label": np.array(b"", object),
    }

    assert ask(loaded, inputs)["product"][0] == 0.0
    assert tiny[0] * np.float32(0.5) > 0  # and only there


def test_metadata_has_every_signature_as_it_was_saved(load: Load) -> None:

    servable = load("several")

    proto = message_class("tensorflow.serving.SignatureDefMap")
    parsed = proto.FromString(servable.signature_def_map)

    assert set(parsed.signature_def) == {"serving_default", "__saved_model_init_op"}
    definition = parsed.signature_def["serving_default"]
    signature = servable.signatures["serving_default"]
    assert signature.method_name == definition.method_name == "tensorflow/serving/predict"
    assert {a: s.name for a, s in signature.inputs.items()} == {
        alias: info.name for alias, info in definition.inputs.items()
    }
    assert signature.inputs["matrix"].shape == (-1, -1)
    assert signature.inputs["label"].shape == ()


def test_a_folder_without_a_saved_model_is_not_found(tmp_path: Path) -> None:
    with pytest.raises(NotFound) as raised:
        TensorFlowLoader(str(tmp_path)).load()

    assert raised.value.message == (
        "Specified file path does not appear to contain a SavedModel bundle "
        f"(should have a file called `saved_model.pb`)\nSpecified file path: {tmp_path}"
    )


def test_a_session_bundle_is_not_loaded(tmp_path: Path) -> None:
    (tmp_path / "export.meta").touch()

    with pytest.raises(Unimplemented, match=r"^Session Bundle is deprecated and removed\.$"):
        TensorFlowLoader(str(tmp_path)).load()


def test_a_damaged_graph_is_data_loss(tmp_path: Path) -> None:
    file = tmp_path / "saved_model.pb"
    file.write_bytes(b"\xff" * 1000)

    with pytest.raises(DataLoss) as raised:
        TensorFlowLoader(str(tmp_path)).load()

    assert raised.value.message == f"Can't parse {file} as binary proto"


def test_missing_variables_fail_the_load(tmp_path: Path, saved_model_folder: Path) -> None:
    shutil.copytree(saved_model_folder / "half_plus_two_1" / "1", tmp_path / "1")
    for file in (tmp_path / "1" / "variables").iterdir():
        file.write_bytes(b"")

    with pytest.raises(ServingError):
        TensorFlowLoader(str(tmp_path / "1")).load()


def test_other_tags_are_not_found(load: Load) -> None:
    with pytest.raises(NotFound) as raised:
        load("half_plus_two_1", TensorFlowOptions(tags=("gpu",)))

    assert raised.value.message == (
        "Could not find meta graph def matching supplied tags: { gpu }. To inspect available "
        "tag-sets in the SavedModel, please use the SavedModel CLI: `saved_model_cli`"
    )


def test_a_session_config_that_is_none_is_refused(load: Load) -> None:
    with pytest.raises(InvalidArgument, match="ConfigProto"):
        load("half_plus_two_1", TensorFlowOptions(session_config=b"\xff"))


def test_an_op_library_brings_its_operations(load: Load, saved_model_folder: Path) -> None:
    (library,) = find_library().parent.glob("**/_audio_microfrontend_op.so")
    inputs, expected = answers_of(saved_model_folder, "custom_op")["serving_default"]

    servable = load("custom_op", TensorFlowOptions(op_libraries=(str(library),)))

    assert ask(servable, inputs)["features"].tolist() == expected["features"].tolist()


@pytest.mark.parametrize("content", [None, b"no library"], ids=["missing", "damaged"])
def test_an_op_library_that_cannot_be_opened_is_named(
    load: Load, tmp_path: Path, content: bytes | None
) -> None:
    library = tmp_path / "ops.so"
    if content is not None:
        library.write_bytes(content)

    with pytest.raises(NotFound, match=str(library)):
        load("half_plus_two_1", TensorFlowOptions(op_libraries=(str(library),)))


def test_the_estimate_is_the_size_on_disk(tmp_path: Path) -> None:
    (tmp_path / "variables").mkdir()
    (tmp_path / "saved_model.pb").write_bytes(bytes(100))
    (tmp_path / "variables" / "data").write_bytes(bytes(1000))

    assert estimated_bytes(str(tmp_path)) == 1100
    assert estimated_bytes("gs://bucket/model/1") == 0


def test_tensorflows_python_package_is_never_imported(saved_model_folder: Path) -> None:
    path = version_path(saved_model_folder, "half_plus_two_2")
    program = (
        "import sys\n"
        "from salver.backends.tensorflow import TensorFlowLoader\n"
        f"TensorFlowLoader({path!r}).load()\n"
        "print('tensorflow' in sys.modules)\n"
    )

    command = [sys.executable, "-c", program]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(command, capture_output=True, text=True, env=environment)

    assert done.stdout == "False\n", done.stderr


def test_without_tensorflow_the_error_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, saved_model_folder: Path
) -> None:
    path = version_path(saved_model_folder, "half_plus_two_2")
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)

    with pytest.raises(FailedPrecondition, match=r"pip install 'salver\[tensorflow\]'"):
        TensorFlowLoader(path).load()


@pytest.mark.slow
def test_unloading_gives_the_memory_back(heavy_saved_model: str) -> None:
    process = psutil.Process()
    resident = []
    for _ in range(6):
        loader = TensorFlowLoader(heavy_saved_model)
        servable = loader.load()
        assert process.memory_info().rss > 200_000_000
        assert ask(servable, {"x": np.ones(50, np.float32)})["y"].tolist() == [50.0] * 3
        loader.unload()
        resident.append(process.memory_info().rss)

    assert resident[-1] < resident[1] + 40_000_000


@pytest.mark.skipif(not SHARED.exists(), reason="the recorded models are not here")
def test_recorded_models_load_and_answer(load: Load) -> None:
    for model in sorted((SHARED / "models").glob("saved_model_half_plus_two*cpu/*")):
        assert ask(load(model), {"x": np.array([1, 2], np.float32)})["y"].tolist() == [2.5, 3.0]


@pytest.mark.skipif(not SHARED.exists(), reason="the recorded models are not here")
def test_defaults_of_a_signature_are_read(load: Load) -> None:
    servable = load(SHARED / "golden" / "open" / "models" / "defaults" / "1")

    assert servable.signatures["all"].defaults["x"].tolist() == [1.0, 2.0]
    assert servable.signatures["serving_default"].defaults["y"] == 10.0
    assert servable.signatures["serving_default"].inputs["x"].data_type is DataType.FLOAT


def test_a_traced_run_answers_alike_and_tells_of_each_node(load: Load) -> None:
    servable = load("half_plus_two_1")
    signature = servable.signatures["serving_default"]
    feeds, fetches = (signature.inputs["x"].name,), (signature.outputs["y"].name,)
    program = servable.program(feeds, fetches)
    assert isinstance(program, TraceableProgram)
    inputs = [np.array([1, 2, 5], np.float32)]
    started = time.time_ns()
    outputs, report = program.run_traced(inputs)
    finished = time.time_ns()
    np.testing.assert_array_equal(outputs[0], program.run(inputs)[0])
    metadata = message_class("tensorflow.RunMetadata").FromString(report)
    (device,) = metadata.step_stats.dev_stats
    nodes = {node.node_name: node for node in device.node_stats}
    assert {"Mul", "y"} <= set(nodes)
    for node in device.node_stats:
        assert started <= node.all_start_nanos
        assert node.all_start_nanos + node.all_end_rel_nanos <= finished


def test_an_error_of_a_traced_run_is_that_of_any_run(load: Load) -> None:
    servable = load("half_plus_two_1")
    signature = servable.signatures["serving_default"]
    program = servable.program((signature.inputs["x"].name,), (signature.outputs["y"].name,))
    assert isinstance(program, TraceableProgram)
    with pytest.raises(InvalidArgument, match="Expects arg"):
        program.run_traced([np.array(["a"], object)])


@pytest.mark.parametrize(("threads", "expected"), [(1, 7), (2, 0)])
def test_a_load_beside_others_gets_little_of_the_cores_unless_it_makes_threads(
    load: Load,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    threads: int,
    expected: int,
) -> None:
    monkeypatch.delenv("TF_OVERRIDE_GLOBAL_THREADPOOL", raising=False)
    caplog.set_level(logging.INFO, "salver.backends.tensorflow")
    load("half_plus_two_2")  # The first one makes the threads that all share.
    seen = []

    class Watch(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            seen.append(os.getpriority(os.PRIO_PROCESS, threading.get_native_id()))

    logger = logging.getLogger("salver.backends.tensorflow")
    watch = Watch()
    logger.addHandler(watch)
    try:
        load("half_plus_two_2", TensorFlowOptions(intra_op_threads=threads, niceness=7))
    finally:
        logger.removeHandler(watch)
    before = os.getpriority(os.PRIO_PROCESS, 0)
    assert set(seen) == {expected or before}
