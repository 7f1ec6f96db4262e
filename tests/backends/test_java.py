"""PMML and MOJO: what is special about each, and what damaged or hostile files get."""

import json
import struct
import subprocess
import sys
import threading
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from salver.backends.mojo import BACKEND as MOJO
from salver.backends.pmml import BACKEND as PMML
from salver.core.backend import Backend, BackendOptions
from salver.core.data_type import DataType
from salver.core.servable import Loader, Servable
from salver.errors import FailedPrecondition, InvalidArgument, ServingError
from tests.backends.asking import ask, example, texts
from tests.backends.cases.mojo import ANSWERS, INPUTS, OFFSETS, REGRESSION
from tests.backends.made import Made
from tests.pmml_models import document, field, half_plus_two, large_tree, logistic_regression

pytest.importorskip("jpype")

Load = Callable[..., Servable]


@pytest.fixture
def load(tmp_path: Path) -> Iterator[Load]:
    """Loads what lies in `tmp_path`; text is put there first, as `model.pmml`."""
    loaders: list[Loader] = []

    def load(text: str | bytes = "", backend: Backend = PMML, **options: Any) -> Servable:
        if text:
            content = text if isinstance(text, bytes) else text.encode()
            (tmp_path / "model.pmml").write_bytes(content)
        loaders.append(backend.loader(str(tmp_path), BackendOptions(model_name="m", **options)))
        return loaders[-1].load()

    yield load
    for loader in loaders:
        loader.unload()


def test_fields_have_the_types_of_the_data_dictionary(load: Load) -> None:
    signature = load(logistic_regression()).signatures["serving_default"]

    assert {name: (spec.data_type, spec.shape) for name, spec in signature.inputs.items()} == {
        "age": (DataType.DOUBLE, (-1,)),
        "visits": (DataType.INT64, (-1,)),
        "colour": (DataType.STRING, (-1,)),
    }
    assert {name: spec.data_type for name, spec in signature.outputs.items()} == {
        "probability(no)": DataType.DOUBLE,
        "probability(yes)": DataType.DOUBLE,
        "predicted_y": DataType.STRING,
        "probability": DataType.DOUBLE,
    }


@pytest.mark.parametrize(
    ("data_type", "numpy_type"),
    [("double", np.float64), ("float", np.float32), ("integer", np.int64)],
)
def test_numbers_of_each_type_are_computed(load: Load, data_type: str, numpy_type: type) -> None:
    found = ask(load(half_plus_two(data_type)), {"x": np.array([1, 2, 5], numpy_type)})

    np.testing.assert_array_equal(found["predicted_y"], [2.5, 3.0, 4.5])


def test_missing_values_are_treated_as_the_mining_schema_says(load: Load) -> None:
    servable = load(logistic_regression())

    def probability(age: float) -> float:
        inputs = {
            "age": np.array([age]),
            "visits": np.zeros(1, np.int64),
            "colour": texts(b"red"),
        }
        return float(ask(servable, inputs)["probability(yes)"][0])

    assert probability(np.nan) == probability(50.0) != probability(51.0)


def test_what_cannot_be_computed_is_nan_or_empty(load: Load) -> None:
    inputs = {"age": np.ones(1), "visits": np.ones(1, np.int64), "colour": texts(b"purple")}

    found = ask(load(logistic_regression()), inputs)

    assert np.isnan(found["probability(yes)"]).all()
    assert found["predicted_y"].tolist() == [b""]


def test_names_and_words_need_not_be_ascii(load: Load) -> None:
    declared = half_plus_two(input_name="gr\u00f6\u00dfe")
    latin = declared.replace('encoding="UTF-8"', 'encoding="ISO-8859-1"').encode("latin-1")

    for content in (declared.encode(), latin, b"\xef\xbb\xbf" + declared.encode()):
        found = ask(load(content), {"gr\u00f6\u00dfe": np.array([2.0])})
        assert found["predicted_y"].tolist() == [3.0]


def test_columns_of_different_lengths_are_an_invalid_argument(load: Load) -> None:
    inputs = {"age": np.ones(2), "visits": np.ones(3, np.int64), "colour": texts(b"red", b"red")}

    with pytest.raises(InvalidArgument, match='"age" has 2 rows, input "visits" has 3'):
        ask(load(logistic_regression()), inputs)


def test_a_string_that_is_no_utf8_is_an_invalid_argument(load: Load) -> None:
    inputs = {"age": np.ones(1), "visits": np.ones(1, np.int64), "colour": texts(b"\xff")}

    with pytest.raises(InvalidArgument, match='input "colour"'):
        ask(load(logistic_regression()), inputs)


def test_regress_takes_examples(load: Load) -> None:
    examples = texts(example(x=[2.0]), example(x=[5], unknown=[b"word"]))

    found = ask(load(half_plus_two()), {"inputs": examples}, "regress")

    assert found["outputs"].tolist() == [3.0, 4.5]


def test_classify_takes_examples_in_which_values_are_missing(load: Load) -> None:
    examples = texts(
        example(age=[51.0], visits=[3], colour=[b"red"]), example(visits=[3], colour=[b"red"])
    )
    servable = load(logistic_regression())

    found = ask(servable, {"inputs": examples}, "classify")

    expected = ask(servable, {
        "age": np.array([51.0, np.nan]), "visits": np.array([3, 3]), "colour": texts(b"red", b"red")
    })  # fmt: skip
    assert found["classes"].tolist() == [[b"no", b"yes"]] * 2
    np.testing.assert_allclose(found["scores"][:, 1], expected["probability(yes)"], 1e-6)


def test_an_example_for_which_nothing_can_be_computed_is_an_invalid_argument(load: Load) -> None:
    known = example(age=[51.0], visits=[3], colour=[b"red"])
    unknown = example(visits=[3], colour=[b"purple"])

    with pytest.raises(InvalidArgument, match='"age" of example 1; the model can'):
        ask(load(logistic_regression()), {"inputs": texts(known, unknown)}, "classify")


def test_yes_or_no_is_a_whole_number_in_an_example(load: Load) -> None:
    servable = load(half_plus_two("boolean"))

    for bad in ([2], [0.5], [b"true"]):
        with pytest.raises(InvalidArgument, match='feature "x" of example 0'):
            ask(servable, {"inputs": texts(example(x=bad))}, "regress")


def with_doctype(declarations: str, use: str = "") -> str:
    first, _, rest = half_plus_two().partition("\n")
    rest = rest.replace('name="tests"', f'name="{use}"')
    return f"{first}\n<!DOCTYPE PMML [{declarations}]>\n{rest}"


LAUGHS = '<!ENTITY a0 "ha">' + "".join(
    f'<!ENTITY a{i} "{f"&a{i - 1};" * 10}">' for i in range(1, 12)
)
WHOLE = half_plus_two()


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (with_doctype('<!ENTITY e SYSTEM "file:///etc/passwd">', "&e;"), "DOCTYPE"),
        (with_doctype(LAUGHS, "&a11;"), "DOCTYPE"),
        (with_doctype("").replace("[]", 'SYSTEM "http://127.0.0.1:9/x.dtd"'), "DOCTYPE"),
        (WHOLE[: len(WHOLE) // 2], "no whole XML"),
        (WHOLE + WHOLE, "no whole XML"),
        ("{}", "no whole XML"),
        ("<svg/>", "outermost element is svg"),
        (WHOLE.replace('version="4.4"', 'version="5.0"'), "PMML 5.0"),
        (WHOLE.replace('version="4.4"', 'version="new"'), 'version "new"'),
        (WHOLE.replace("RegressionModel", "MagicModel"), "MagicModel"),
        (WHOLE.replace("DataDictionary", "Extension"), "cannot be read"),
        (WHOLE.encode("utf-16"), "no whole XML"),
        (document([field("y", "double")], "<Node>" * 20_000 + "</Node>" * 20_000), "cannot be"),
    ],
    ids=range(13),
)
def test_a_damaged_or_hostile_document_is_a_clear_error(
    load: Load, content: str | bytes, told: str
) -> None:
    with pytest.raises(InvalidArgument, match=told) as raised:
        load(content)

    assert raised.value.message.startswith("Model m: ")
    assert "\n" not in raised.value.message
    assert ask(load(WHOLE), {"x": np.array([2.0])})["predicted_y"].tolist() == [3.0]


SMALL_HEAP = """\
import sys
from salver.backends.pmml import BACKEND
from salver.core.backend import BackendOptions
from salver.errors import ResourceExhausted

large, small = (
    BACKEND.loader(path, BackendOptions(model_name="m", jvm_max_heap_mb=32)) for path
    in sys.argv[1:]
)
for _ in range(2):
    try:
        large.load()
    except ResourceExhausted as error:
        print(error.message)
    large.unload()
print(list(small.load().signatures))
"""


def test_a_model_beyond_the_heap_is_an_error_of_its_own(tmp_path: Path) -> None:
    for name, text in (("large", large_tree(200_000)), ("small", WHOLE)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "model.pmml").write_text(text)
    command = [sys.executable, "-c", SMALL_HEAP, str(tmp_path / "large"), str(tmp_path / "small")]

    done = subprocess.run(command, capture_output=True, text=True)

    first, second, last = done.stdout.splitlines()
    assert "32 MiB that --jvm_max_heap_mb gives to Java" in first == second
    assert "serving_default" in last


WITHOUT = """\
import sys
from salver.core.backend import BackendOptions
from salver.backends.registry import Backends
from salver.errors import FailedPrecondition

if sys.argv[2] == "java":
    import jpype
    jpype.getDefaultJVMPath = lambda: 1 / 0
else:
    sys.modules[sys.argv[2]] = None
try:
    Backends().named(sys.argv[1]).loader(sys.argv[3], BackendOptions(model_name="m")).load()
except FailedPrecondition as error:
    print(error.message)
"""


@pytest.mark.parametrize(
    ("missing", "told"),
    [
        ("java", "apt-get install default-jre-headless"),
        ("jpype", "pip install 'salver[pmml]'"),
    ],
)
def test_what_is_missing_is_one_line_with_the_command(
    tmp_path: Path, missing: str, told: str
) -> None:
    (tmp_path / "model.pmml").write_text(WHOLE)
    command = [sys.executable, "-c", WITHOUT, "pmml", missing, str(tmp_path)]

    done = subprocess.run(command, capture_output=True, text=True)

    (line,) = done.stdout.splitlines()
    assert told in line


def test_java_forgets_threads_that_ended(load: Load) -> None:
    import jpype

    servable = load(WHOLE)

    def call() -> None:
        ask(servable, {"x": np.array([2.0])})

    before = int(jpype.java.lang.Thread.activeCount())
    for _ in range(50):
        thread = threading.Thread(target=call)
        thread.start()
        thread.join()

    assert int(jpype.java.lang.Thread.activeCount()) <= before + 1


@pytest.fixture(scope="session")
def mojo(make_case: Callable[..., Made]) -> bytes:
    """A MOJO of trees from a number, a number and a category."""
    pytest.importorskip("h2o")
    return (make_case("mojo").version(1) / "model.zip").read_bytes()


def unpacked(mojo: bytes, folder: Path) -> dict[str, bytes]:
    path = folder / "whole"
    path.write_bytes(mojo)
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def pack(path: Path, parts: dict[str, bytes]) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in parts.items():
            archive.writestr(name, content)


def test_a_mojo_has_columns_and_classes(mojo: bytes, tmp_path: Path, load: Load) -> None:
    (tmp_path / "GBM_model_1.zip").write_bytes(mojo)
    signature = load(backend=MOJO).signatures["serving_default"]

    assert {name: spec.data_type for name, spec in signature.inputs.items()} == {
        "age": DataType.DOUBLE,
        "income": DataType.DOUBLE,
        "colour": DataType.STRING,
    }
    assert {name: spec.data_type for name, spec in signature.outputs.items()} == {
        "predict": DataType.STRING,
        "no": DataType.DOUBLE,
        "yes": DataType.DOUBLE,
    }


def test_regress_asks_a_mojo_with_its_offset(make_case: Callable[..., Made]) -> None:
    pytest.importorskip("h2o")
    folder = make_case("mojo").folder / REGRESSION
    loader = MOJO.loader(str(folder), BackendOptions(model_name="m"))
    servable = loader.load()
    try:
        rows: list[dict[str, Any]] = [
            {name: array[row : row + 1].tolist() for name, array in INPUTS.items()}
            for row in range(4)
        ]
        del rows[2]["income"]
        offsets = [{"base": [offset]} for offset in OFFSETS]
        examples = texts(*(example(**a, **b) for a, b in zip(rows, offsets, strict=True)))

        found = ask(servable, {"inputs": examples}, "regress")["outputs"]

        expected = json.loads((folder / ANSWERS).read_text())
        np.testing.assert_allclose(found, expected, 1e-5)
        with pytest.raises(InvalidArgument, match='feature "base" of example 0'):
            ask(servable, {"inputs": texts(example(**rows[0]))}, "regress")
    finally:
        loader.unload()


Parts = dict[str, bytes]


def described(old: bytes, new: bytes) -> Callable[[Parts], Parts]:
    """The parts with something replaced in the description."""

    def changed(parts: Parts) -> Parts:
        assert old in parts["model.ini"]
        return {**parts, "model.ini": parts["model.ini"].replace(old, new)}

    return changed


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda parts: {**parts, "../../evil": b"x"}, r'has a part "\.\./\.\./evil"'),
        (lambda parts: {**parts, "/etc/evil": b"x"}, 'has a part "/etc/evil"'),
        (lambda parts: {k: v for k, v in parts.items() if k != "model.ini"}, r"no model\.ini"),
        (lambda parts: {**parts, "zeros": bytes(64 << 20)}, "claims"),
        (lambda parts: {k: v for k, v in parts.items() if "domains/" not in k}, "cannot be read"),
        (described(b"mojo_version = 1.", b"mojo_version = 9."), r"model\.zip cannot be read"),
        (described(b"Gradient Boosting Machine", b"Sorcery"), "Sorcery"),
        (described(b"n_features = 3", b"n_features = 2000000000"), r"model\.zip cannot be read"),
    ],
    ids=["parent", "absolute", "no description", "flood", "no domains", "newer", "other", "large"],
)
def test_a_hostile_archive_is_a_clear_error(
    mojo: bytes, tmp_path: Path, load: Load, change: Callable[[Parts], Parts], told: str
) -> None:
    pack(tmp_path / "model.zip", change(unpacked(mojo, tmp_path)))

    with pytest.raises(InvalidArgument, match=told) as raised:
        load(backend=MOJO)

    assert raised.value.message.startswith("Model m: ")


@pytest.mark.parametrize("damage", ["cut", "flipped", "text"])
def test_a_damaged_archive_is_a_clear_error(
    mojo: bytes, tmp_path: Path, load: Load, damage: str
) -> None:
    flipped = bytes([mojo[80] ^ 0xFF])
    content = {
        "cut": mojo[: len(mojo) // 2],
        "flipped": mojo[:80] + flipped + mojo[81:],
        "text": b"model.ini",
    }[damage]
    (tmp_path / "model.zip").write_bytes(content)

    with pytest.raises(InvalidArgument, match=r"model\.zip is no whole archive"):
        load(backend=MOJO)


def test_a_header_that_claims_10_gb_is_refused(mojo: bytes, tmp_path: Path, load: Load) -> None:
    content = bytearray(mojo)
    entry = content.rindex(b"PK\x01\x02")
    struct.pack_into("<I", content, entry + 24, 0xFFFF_FFF0)
    (tmp_path / "model.zip").write_bytes(content)

    with pytest.raises(InvalidArgument, match="claims 4294967280 bytes"):
        load(backend=MOJO)


def test_a_jar_that_is_not_there_is_named(mojo: bytes, tmp_path: Path, load: Load) -> None:
    (tmp_path / "model.zip").write_bytes(mojo)

    with pytest.raises(FailedPrecondition, match=r"there is no file /nowhere\.jar"):
        load(backend=MOJO, h2o_genmodel_jar="/nowhere.jar")


def test_a_jar_of_something_else_is_an_error(mojo: bytes, tmp_path: Path, load: Load) -> None:
    (tmp_path / "model.zip").write_bytes(mojo)
    jar = tmp_path / "other.jar"
    pack(jar, {"README": b"nothing"})

    with pytest.raises(FailedPrecondition, match=r"hex\.genmodel\.MojoModel is not in the jars"):
        load(backend=MOJO, h2o_genmodel_jar=str(jar))


def test_only_archives_that_may_be_mojos_are_taken_for_some(mojo: bytes, tmp_path: Path) -> None:
    path = tmp_path / "any_name.zip"
    pack(path, {"data.csv": b"1,2"})
    assert not MOJO.detects(tmp_path)
    path.write_bytes(mojo)
    assert MOJO.detects(tmp_path)
    (tmp_path / "second.zip").write_bytes(mojo)
    assert not MOJO.detects(tmp_path)
    with pytest.raises(ServingError, match="does not have one file"):
        MOJO.loader(str(tmp_path), BackendOptions(model_name="m")).load()
