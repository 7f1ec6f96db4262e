import json
import os
import pickle
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest
import torch

from salver.backends.torch import BACKEND, TorchLoader
from salver.core.backend import BackendOptions
from salver.core.data_type import DataType
from salver.core.servable import Servable
from salver.errors import (
    InvalidArgument,
    NotFound,
    PermissionDenied,
    ResourceExhausted,
    ServingError,
    Unavailable,
    Unimplemented,
)
from tests import torch_models
from tests.backends.asking import ask

Load = Callable[..., Servable]

X = np.arange(8, dtype=np.float32).reshape(2, 4)
MODEL = "models/model.json"


@pytest.fixture
def load(tmp_path: Path) -> Iterator[Load]:
    """Loads what lies in the folder of the test."""
    loaders = []

    def load(allow: bool = False) -> Servable:
        options = BackendOptions(model_name="net", allow_pickle=allow)
        loaders.append(TorchLoader(str(tmp_path), options))
        return loaders[-1].load()

    yield load
    for loader in loaders:
        loader.unload()


def shapes(specs: Any) -> dict[str, tuple[DataType, tuple[int, ...] | None]]:
    return {name: (spec.data_type, spec.shape) for name, spec in specs.items()}


# Exported programs.


def test_a_program_has_types_and_shapes_of_its_own(load: Load, tmp_path: Path) -> None:
    rows = torch.export.Dim("rows")
    inputs = (torch.ones(3, 2), {"more": torch.ones(3, 2)}, 3.0)
    dynamic = ({0: rows}, {"more": {0: rows}}, None)
    torch_models.exported(torch_models.Nested(), inputs, tmp_path, dynamic)

    servable = load()

    signature = servable.signatures["serving_default"]
    pair = (DataType.FLOAT, (-1, 2))
    assert shapes(signature.inputs) == {"x": pair, "others_more": pair}
    names = ["scaled", "pair_total", "pair_twice", "list_0", "list_1"]
    assert shapes(signature.outputs) == dict.fromkeys(names, pair)
    x, more = np.ones((1, 2), np.float32), np.full((1, 2), 5, np.float32)
    answers = ask(servable, {"others_more": more, "x": x})
    assert {name: array.tolist() for name, array in answers.items()} == {
        "scaled": [[3, 3]],
        "pair_total": [[6, 6]],
        "pair_twice": [[2, 2]],
        "list_0": [[6, 6]],
        "list_1": [[1, 1]],
    }


def test_what_the_export_fixed_may_stand_between_the_inputs(load: Load, tmp_path: Path) -> None:
    inputs = (torch.ones(2), 3.0, torch.ones(2))
    torch_models.exported(torch_models.Between(), inputs, tmp_path)

    answer = ask(
        load(), {"x": np.array([1, 2], np.float32), "input": np.array([10, 20], np.float32)}
    )

    assert answer["output_0"].tolist() == [-7, -14]


def test_rows_that_must_be_as_many_are_compared(load: Load, tmp_path: Path) -> None:
    rows = torch.export.Dim("rows")
    inputs = (torch.ones(3, 2), {"more": torch.ones(3, 2)}, 3.0)
    dynamic = ({0: rows}, {"more": {0: rows}}, None)
    torch_models.exported(torch_models.Nested(), inputs, tmp_path, dynamic)
    one, two = np.ones((1, 2), np.float32), np.ones((2, 2), np.float32)

    with pytest.raises(InvalidArgument) as raised:
        ask(load(), {"x": two, "others_more": one})

    assert raised.value.message == (
        'Model net: expects dimension 0 of input "others_more" to be 2, as in input "x", but 1 is '
        "provided"
    )


def test_ranges_of_sizes_are_kept(load: Load, tmp_path: Path) -> None:
    rows = {0: torch.export.Dim("rows", max=5)}
    torch_models.exported(torch_models.Mlp(), (torch.ones(3, 4),), tmp_path, (rows,))
    servable = load()

    with pytest.raises(InvalidArgument, match='dimension 0 of input "x" to be from 0 to 5, but 6'):
        ask(servable, {"x": np.ones((6, 4), np.float32)})

    for size in (1, 2, 5):
        assert ask(servable, {"x": np.ones((size, 4), np.float32)})["output_0"].shape == (size, 2)


def test_conditions_between_sizes_are_kept(load: Load, tmp_path: Path) -> None:
    free = {0: torch.export.Dim.AUTO, 1: torch.export.Dim.AUTO}
    torch_models.exported(torch_models.Reshaped(), (torch.ones(4, 6),), tmp_path, (free,))
    assert torch_models.member(tmp_path / "model.pt2", MODEL)["guards_code"]
    servable = load()

    for _ in range(2):
        assert ask(servable, {"x": np.ones((8, 6), np.float32)})["output_0"].tolist() == [8] * 6
        with pytest.raises(InvalidArgument, match="the sizes of the inputs do not fit"):
            ask(servable, {"x": np.ones((3, 5), np.float32)})


def test_state_that_a_program_keeps_goes_on(load: Load, tmp_path: Path) -> None:
    torch_models.exported(torch_models.Remembering(), (torch.ones(1),), tmp_path)
    servable = load()

    counts = [ask(servable, {"x": np.ones(1, np.float32)})["output_0"].item() for _ in range(3)]

    assert counts == [1, 2, 3]


def test_what_a_program_is_given_stays_as_it_is(load: Load, tmp_path: Path) -> None:
    torch_models.exported(torch_models.InPlace(), (torch.ones(3),), tmp_path)
    x = np.ones(3, np.float32)

    assert ask(load(), {"x": x})["output_0"].tolist() == [2, 2, 2]
    assert x.tolist() == [1, 1, 1]


# TorchScript.


def test_script_without_a_signature_takes_what_comes(load: Load, tmp_path: Path) -> None:
    torch_models.script(torch_models.Pairs(), tmp_path)
    servable = load()

    signature = servable.signatures["serving_default"]
    assert shapes(signature.inputs) == {"x": (DataType.FLOAT, None)}
    assert shapes(signature.outputs) == dict.fromkeys(
        ("output_0", "output_1"), (DataType.FLOAT, None)
    )
    for array in (np.array([1, 2]), np.array([[1.5]], np.float32), np.array(3, np.uint8)):
        answer = ask(servable, {"x": array})["output_1"]
        assert answer.dtype == array.dtype
        assert answer.tolist() == (array * 2).tolist()
    with pytest.raises(InvalidArgument, match='input "x" to be numbers but string is provided'):
        ask(servable, {"x": np.array([b"a"], object)})


def test_what_is_stated_beside_script_is_its_signature(load: Load, tmp_path: Path) -> None:
    torch_models.script(torch_models.Pairs(), tmp_path)
    tensor = {"dtype": "float64", "shape": [None, 2]}
    inputs = {"x": tensor, "more": {"dtype": "float64"}}
    torch_models.stated(tmp_path, {"inputs": inputs, "outputs": {"a": tensor, "b": tensor}})
    servable = load()

    signature = servable.signatures["serving_default"]
    assert shapes(signature.inputs) == {
        "x": (DataType.DOUBLE, (-1, 2)),
        "more": (DataType.DOUBLE, None),
    }
    answers = ask(servable, {"more": np.array([3.0]), "x": np.ones((1, 2))})
    assert {name: array.tolist() for name, array in answers.items()} == {
        "a": [[4, 4]],
        "b": [[2, 2]],
    }
    with pytest.raises(InvalidArgument, match='input "x" to be double but float is provided'):
        ask(servable, {"more": np.array([3.0]), "x": np.ones((1, 2), np.float32)})
    with pytest.raises(InvalidArgument, match=r'input "x" to have shape \[\?,2\]'):
        ask(servable, {"more": np.array([3.0]), "x": np.ones((1, 3))})


def test_an_output_of_another_type_than_stated_is_an_error_of_the_model(
    load: Load, tmp_path: Path
) -> None:
    torch_models.script(torch_models.Scaled(), tmp_path)
    content = {"inputs": {"x": {"dtype": "float32"}}, "outputs": {"y": {"dtype": "int64"}}}
    torch_models.stated(tmp_path, content)

    with pytest.raises(ServingError, match='output "y" is declared as int64, but float was'):
        ask(load(), {"x": np.ones(2, np.float32)})


def test_a_dictionary_of_outputs_needs_their_names(load: Load, tmp_path: Path) -> None:
    torch_models.script(torch_models.Mapped(), tmp_path)
    with pytest.raises(Unimplemented, match=r"name them in signature\.json"):
        load()

    outputs = {"half": {"dtype": "float32"}, "sum": {"dtype": "float32"}}
    inputs = {"x": {"dtype": "float32", "shape": [None, 2]}}
    torch_models.stated(tmp_path, {"inputs": inputs, "outputs": outputs})

    answers = ask(load(), {"x": np.array([[2, 4]], np.float32)})
    assert {name: array.tolist() for name, array in answers.items()} == {
        "half": [[1, 2]],
        "sum": [6],
    }


@pytest.mark.parametrize(
    ("content", "text"),
    [
        ("{", "cannot be read"),
        ([], "must be an object"),
        ({"inputs": {}}, "states no inputs"),
        ({"inputs": []}, "states no inputs"),
        ({"inputs": [1]}, '"inputs" must be an object'),
        ({"inputs": {"x": "float32"}}, '"x" must be an object'),
        ({"inputs": {"x": {"dtype": "real"}}}, 'the dtype of "x" must be one of float32'),
        ({"inputs": {"x": {"dtype": "float32", "shape": [-1]}}}, 'the shape of "x" must be'),
        ({"inputs": {"x": {"dtype": "float32", "shape": [True]}}}, 'the shape of "x" must be'),
        ({"inputs": {"z": {"dtype": "float32"}}}, "takes x, but signature.json states z"),
        (
            {"inputs": {"x": {"dtype": "float32"}}, "outputs": {"y": {"dtype": "float32"}}},
            "has 2 outputs, but signature.json states 1",
        ),
    ],
)
def test_a_stated_signature_that_is_wrong_is_refused(
    load: Load, tmp_path: Path, content: Any, text: str
) -> None:
    torch_models.script(torch_models.Pairs(), tmp_path)
    file = tmp_path / "signature.json"
    file.write_text(content if isinstance(content, str) else json.dumps(content))

    with pytest.raises(InvalidArgument) as raised:
        load()

    assert raised.value.message.startswith("Model net: model.pt")
    assert text in raised.value.message


def test_script_that_takes_no_tensor_is_refused(load: Load, tmp_path: Path) -> None:
    torch_models.script(torch_models.Counted(), tmp_path)

    with pytest.raises(Unimplemented, match='takes "times", which is int, no tensor'):
        load()


@pytest.mark.parametrize("module", [torch_models.Saving, torch_models.Reading])
def test_script_that_uses_files_is_refused_unless_that_is_allowed(
    load: Load, tmp_path: Path, module: type[torch.nn.Module]
) -> None:
    torch_models.script(module(), tmp_path)

    with pytest.raises(PermissionDenied, match=r"reads or writes files; --allow_pickle"):
        load()

    assert "serving_default" in load(allow=True).signatures


# Both.


@pytest.mark.parametrize(
    "array",
    [
        np.array([0.5, -2, np.inf], np.float32),
        np.array([1e-300, 2.5]),
        np.array([0.5, 65504], np.float16),
        np.array([0.5, 3], ml_dtypes.bfloat16),
        np.array([-128, 127], np.int8),
        np.array([-(2**15), 3], np.int16),
        np.array([-(2**31), 7], np.int32),
        np.array([-(2**63), 2**63 - 1]),
        np.array([0, 255], np.uint8),
        np.array([0, 2**16 - 1], np.uint16),
        np.array([0, 2**32 - 1], np.uint32),
        np.array([0, 2**64 - 1], np.uint64),
        np.array([True, False]),
        np.array([1 + 2j], np.complex64),
        np.array([1 - 2j]),
    ],
    ids=lambda array: array.dtype.name,
)
def test_every_type_keeps_its_values_both_ways(
    load: Load, tmp_path: Path, array: np.ndarray
) -> None:
    torch_models.script(torch.nn.Identity(), tmp_path)

    answer = ask(load(), {"input": array})["output_0"]

    assert answer.dtype == array.dtype
    assert answer.tolist() == array.tolist()


@pytest.mark.parametrize(
    "array",
    [
        pytest.param(np.arange(6, dtype=np.float32)[::-2], id="strided"),
        pytest.param(np.arange(6).astype(">f4"), id="big-endian"),
        pytest.param(np.zeros((0, 3), np.float32), id="empty"),
        pytest.param(np.array(7, np.float32), id="scalar"),
        pytest.param(np.array(7, ">f4"), id="big-endian scalar"),
        pytest.param(np.frombuffer(bytes(range(41)), np.float32, 10, 1), id="unaligned"),
        pytest.param(np.asfortranarray(np.arange(6, dtype=np.float32).reshape(2, 3)), id="turned"),
    ],
)
def test_arrays_of_any_layout_are_taken(load: Load, tmp_path: Path, array: np.ndarray) -> None:
    torch_models.script(torch.nn.Identity(), tmp_path)

    np.testing.assert_array_equal(ask(load(), {"input": array})["output_0"], array)


@pytest.mark.parametrize("kind", ["script", "exported"])
def test_what_cannot_be_computed_is_an_error_of_the_request(
    load: Load, tmp_path: Path, kind: str
) -> None:
    class Table(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.table = torch.nn.Embedding(3, 2)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.table(x)  # type: ignore[no-any-return]

    if kind == "script":
        torch_models.script(torch.nn.Embedding(3, 2), tmp_path)
    else:
        torch_models.exported(Table(), (torch.tensor([1, 2]),), tmp_path)
    servable = load()
    (name,) = servable.signatures["serving_default"].inputs

    with pytest.raises(InvalidArgument, match="index out of range in self"):
        ask(servable, {name: np.array([7, 1])})

    assert ask(servable, {name: np.array([2, 1])})["output_0"].shape == (2, 2)


def test_what_does_not_fit_into_memory_is_no_error_of_the_request(
    load: Load, tmp_path: Path
) -> None:
    class Wide(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.zeros([int(x.item()), 1 << 40])

    torch_models.script(Wide(), tmp_path)

    with pytest.raises(ResourceExhausted):
        ask(load(), {"x": np.array(1000)})


def test_one_thread_computes_a_run(load: Load, tmp_path: Path) -> None:
    torch_models.script(torch_models.Scaled(), tmp_path)
    load()

    assert torch.get_num_threads() == 1


def test_a_program_of_an_unloaded_version_says_so(tmp_path: Path) -> None:
    torch_models.plain(tmp_path)
    loader = TorchLoader(str(tmp_path), BackendOptions(model_name="net"))
    program = loader.load().program(("x",), ("output_0",))
    loader.unload()

    with pytest.raises(Unavailable):
        program.run([X])


def test_without_a_file_there_is_nothing_to_load(load: Load) -> None:
    with pytest.raises(NotFound):
        load()


# Files that are not to be trusted.


class Bomb:
    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self) -> Any:
        return os.system, (f"touch {self.trace}",)


def test_a_pickled_module_is_loaded_only_if_that_is_allowed(load: Load, tmp_path: Path) -> None:
    module = torch.nn.Linear(4, 2)
    (tmp_path / "model.pt").write_bytes(torch_models.pickled(module))
    with pytest.raises(PermissionDenied, match=r"model\.pt is a pickle.*--allow_pickle"):
        load()

    content = {"inputs": {"input": {"dtype": "float32"}}, "outputs": {"y": {"dtype": "float32"}}}
    torch_models.stated(tmp_path, content)

    answer = ask(load(allow=True), {"input": X})["y"]
    np.testing.assert_allclose(answer, module(torch.from_numpy(X)).detach().numpy(), rtol=1e-5)


def test_weights_alone_are_no_model(load: Load, tmp_path: Path) -> None:
    weights = torch.nn.Linear(4, 2).state_dict()
    (tmp_path / "model.pt").write_bytes(torch_models.pickled(weights))

    with pytest.raises(InvalidArgument, match="weights alone cannot be served"):
        load(allow=True)


def test_no_pickle_runs(load: Load, tmp_path: Path) -> None:
    trace = tmp_path / "trace"
    for content in (pickle.dumps(Bomb(trace)), torch_models.pickled(Bomb(trace))):
        (tmp_path / "model.pt").write_bytes(content)
        with pytest.raises(PermissionDenied):
            load()
    assert not trace.exists()


HOSTILE_EXPRESSIONS = (
    "__import__('os').system('touch {trace}')",
    "exec('import os')",
    "open('{trace}', 'w')",
    "s0.__class__",
    "(lambda: 1)()",
    "[x for x in (1, 2)]",
    "9**9**9**9",
    "(9**9)**9",
    "Pow(Integer(9), Integer(99999999))",
    "Pow(Symbol('s0'), Integer(99999999))",
    "Symbol('s0', positive=exit())",
    "Symbol('__import__(1)')",
    "1 << 99999999999",
    "s0 if s1 else s2",
    "x" * 20_000,
)


def with_program(file: Path, change: Callable[[Any], None]) -> None:
    program = torch_models.member(file, MODEL)
    change(program)
    torch_models.changed(file, {MODEL: json.dumps(program).encode()})


@pytest.mark.parametrize("expression", HOSTILE_EXPRESSIONS)
def test_a_size_is_nothing_but_a_size(load: Load, tmp_path: Path, expression: str) -> None:
    trace = tmp_path / "trace"

    def change(program: Any) -> None:
        values = program["graph_module"]["graph"]["tensor_values"]
        values["x"]["sizes"][0]["as_expr"]["expr_str"] = expression.format(trace=trace)

    with_program(torch_models.plain(tmp_path), change)

    with pytest.raises(PermissionDenied, match="has a size"):
        load()
    assert not trace.exists()


@pytest.mark.parametrize("allow", [False, True])
def test_a_condition_is_nothing_but_a_comparison(load: Load, tmp_path: Path, allow: bool) -> None:
    trace = tmp_path / "trace"
    guards = [f"__import__('os').system('touch {trace}')", "L.__class__", "L['x'].__class__"]
    for guard in guards:
        file = torch_models.plain(tmp_path)
        with_program(file, lambda program, guard=guard: program.update(guards_code=[guard]))  # type: ignore[misc]
        with pytest.raises(PermissionDenied, match="has a condition"):
            load(allow=allow)
    assert not trace.exists()


@pytest.mark.parametrize(
    "target",
    [
        "torch.os.system",
        "torch.load",
        "torch.ops.load_library",
        "torch.ops.aten.from_file.default",
        "_operator.methodcaller",
        "torch.ops.aten.relu.default.__class__",
        "torch.ops.other.thing.default",
    ],
)
def test_only_operations_of_pytorch_are_called(load: Load, tmp_path: Path, target: str) -> None:
    def change(program: Any) -> None:
        program["graph_module"]["graph"]["nodes"][0]["target"] = target

    with_program(torch_models.plain(tmp_path), change)

    with pytest.raises(PermissionDenied, match=f"calls {target}"):
        load()


def test_names_do_not_become_code(load: Load, tmp_path: Path) -> None:
    trace = tmp_path / "trace"
    name = f"x=__import__('os').system('touch {trace}')"
    file = torch_models.plain(tmp_path)
    text = json.dumps(torch_models.member(file, MODEL)).replace('"x"', json.dumps(name))
    torch_models.changed(file, {MODEL: text.encode()})

    with pytest.raises(PermissionDenied, match="has something called"):
        load()
    assert not trace.exists()


def test_notes_do_not_become_code(load: Load, tmp_path: Path) -> None:
    trace = tmp_path / "trace"

    def change(program: Any) -> None:
        for node in program["graph_module"]["graph"]["nodes"]:
            code = f"\n__import__('os').system('touch {trace}')\n"
            node["metadata"]["stack_trace"] = f'File "a", line 1, in b{code}    c{code}'

    with_program(torch_models.plain(tmp_path), change)

    assert ask(load(), {"x": X})["output_0"].shape == (2, 2)
    assert not trace.exists()


@pytest.mark.parametrize(
    "name",
    [
        "data/weights/model.pt",
        "data/constants/model.pt",
        "data/constants/opaque_obj_0",
        "data/constants/custom_obj_0",
        "data/aotinductor/model/model.so",
        "models/other.json",
    ],
)
def test_members_that_are_code_or_may_be_are_refused(load: Load, tmp_path: Path, name: str) -> None:
    trace = tmp_path / "trace"
    content = torch_models.pickled(Bomb(trace))
    torch_models.changed(torch_models.plain(tmp_path), {name: content})

    with pytest.raises(PermissionDenied, match="has a member"):
        load()
    assert not trace.exists()


def test_weights_and_samples_are_no_pickles(load: Load, tmp_path: Path) -> None:
    trace = tmp_path / "trace"
    content = torch_models.pickled((Bomb(trace),))
    torch_models.changed(torch_models.plain(tmp_path), {"data/sample_inputs/model.pt": content})
    with pytest.raises(PermissionDenied, match="sample inputs that are no tensors"):
        load()

    file = torch_models.plain(tmp_path)
    config = "data/weights/model_weights_config.json"
    weights = torch_models.member(file, config)
    next(iter(weights["config"].values()))["use_pickle"] = True
    torch_models.changed(
        file, {config: json.dumps(weights).encode(), "data/weights/weight_0": content}
    )
    with pytest.raises(PermissionDenied, match="as a pickle"):
        load()
    assert not trace.exists()


def test_weights_that_are_not_there_are_not_made_up(load: Load, tmp_path: Path) -> None:
    file = torch_models.plain(tmp_path)
    config = "data/weights/model_weights_config.json"
    weights = torch_models.member(file, config)
    next(iter(weights["config"].values()))["tensor_meta"]["sizes"] = [{"as_int": 10**13}]
    for content, text in ((b"", "has no content for"), (bytes(128), "cannot be loaded")):
        torch_models.changed(
            file, {config: json.dumps(weights).encode(), "data/weights/weight_0": content}
        )
        with pytest.raises(InvalidArgument, match=text):
            load()


def rezipped(file: Path, change: str) -> None:
    with zipfile.ZipFile(file) as archive:
        contents = {name: archive.read(name) for name in archive.namelist()}
    root = next(iter(contents)).partition("/")[0]
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in contents.items():
            archive.writestr(name, content)
        match change:
            case "twice":
                archive.writestr(f"{root}/ARCHIVE_FORMAT", b"")
            case "outside":
                archive.writestr(f"{root}/../../outside", b"")
            case "two folders":
                archive.writestr("other/x", b"")
            case "bomb":
                archive.writestr(f"{root}/extra/zeros", bytes(100 << 20))
    if change == "in front":
        file.write_bytes(b"PK\3\4" + bytes(60) + file.read_bytes())


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ("twice", "a member comes twice"),
        ("outside", "a member leads out of it"),
        ("two folders", "members are not in one folder"),
        ("bomb", "members claim to have"),
        ("in front", "something lies before the first member"),
    ],
)
def test_an_archive_that_pytorch_did_not_write_is_refused(
    load: Load, tmp_path: Path, change: str, text: str
) -> None:
    rezipped(torch_models.plain(tmp_path), change)

    with pytest.raises(InvalidArgument, match=text):
        load()


@pytest.mark.parametrize("kind", ["script", "exported"])
def test_no_byte_of_a_file_can_end_the_process(tmp_path: Path, kind: str) -> None:
    if kind == "script":
        torch_models.script(torch_models.Scaled(), tmp_path)
    else:
        torch_models.plain(tmp_path)

    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-m", "tests.backends.damage", str(tmp_path), "500"],
        capture_output=True,
        text=True,
    )

    assert done.returncode == 0, done.stderr
    refused, loaded = map(int, done.stdout.splitlines()[-1].split())
    assert refused
    assert loaded


def test_a_folder_is_detected_by_its_file(tmp_path: Path) -> None:
    assert not BACKEND.detects(tmp_path)
    assert BACKEND.lacking(["weights.bin"]) == "model.pt2"
    for name in ("model.pt", "model.pt2"):
        assert BACKEND.lacking([name]) is None
        (tmp_path / name).write_bytes(b"12345")
        assert BACKEND.detects(tmp_path)
    assert BACKEND.estimated_bytes(tmp_path) == 5
