"""What `salver.export` writes, served: every way to ask gives what the model gives in training."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import requests

from salver.export import Classify, Exported, Predict, Regress, WarmUp, export_model
from tests.grpc_client import TIMEOUT_S, GrpcClient
from tests.running import RunningServer, write_config

keras = pytest.importorskip("keras")
tf = pytest.importorskip("tensorflow")

AGES = np.array([[22.0], [47.0], [80.0]], np.float32)
SCHOOLS = np.array([[b"college"], [b"school"], [b"none"]], object)
ROWS = [
    {"age": 22.0, "education": "college"},
    {"age": 47.0, "education": "school"},
    {"age": 80.0, "education": "none"},
]
FLOWERS = ["setosa", "versicolor", "virginica"]


def income_model() -> Any:
    """Numbers and words in, one probability out, and a layer on the way."""
    age = keras.Input((1,), name="age")
    education = keras.Input((1,), name="education", dtype="string")
    lookup = keras.layers.StringLookup(vocabulary=["school", "college"], output_mode="one_hot")
    both = keras.layers.Concatenate()([age / 100.0, lookup(education)])
    hidden = keras.layers.Dense(3, activation="tanh", name="hidden")(both)
    rich = keras.layers.Dense(1, activation="sigmoid", name="rich")(hidden)
    model = keras.Model([age, education], rich, name="income")
    model.compile("adam", "binary_crossentropy")
    model.fit([tf.constant(AGES), tf.constant(SCHOOLS)], np.array([0, 1, 1]), verbose=0)
    return model


class Flowers(tf.Module):  # type: ignore[misc, name-defined]
    """Three scores for four numbers, by a method that is not `__call__`."""

    def __init__(self) -> None:
        self.weights = tf.Variable(np.arange(12, dtype=np.float32).reshape(4, 3) / 10)

    @tf.function(input_signature=[tf.TensorSpec([None, 4], name="petals")])  # type: ignore[untyped-decorator]
    def scores(self, petals: Any) -> Any:
        logits = petals @ self.weights
        return {"probabilities": tf.nn.softmax(logits), "logits": logits}


OFFSET = tf.Variable(2.0)


@tf.function(input_signature=[tf.TensorSpec([None], name="x")])  # type: ignore[untyped-decorator]
def half_plus(x: Any) -> Any:
    return {"y": x * 0.5 + OFFSET}


@pytest.fixture(scope="module")
def income() -> Any:
    return income_model()


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory, income: Any) -> dict[str, Exported]:
    folder = tmp_path_factory.mktemp("exported")
    vocabulary = folder / "flowers.txt"
    vocabulary.write_text("\n".join(FLOWERS))
    return {
        "income": export_model(
            income,
            folder / "income",
            version=7,
            signatures={
                "serving_default": Predict(layers={"inner": "hidden"}),
                "classify": Classify(classes=["poor", "rich"], examples=True),
                "regress": Regress(examples=True),
                "from_examples": Predict(outputs={"probability": "rich"}, examples=True),
                "classes": Classify(classes=["poor", "rich"], top_k=1),
            },
            warm_up=[
                {"age": [[30.0]], "education": [["school"]]},
                WarmUp(ROWS, "classify"),
                WarmUp(ROWS[:1], "regress"),
                WarmUp(ROWS, "from_examples"),
            ],
        ),
        "flowers": export_model(
            Flowers(),
            folder / "flowers",
            signatures=Classify(
                classes=vocabulary,
                scores="probabilities",
                examples={"petals": tf.io.FixedLenFeature([4], tf.float32)},
            ),
        ),
        "half_plus": export_model(half_plus, folder / "half_plus"),
    }


@pytest.fixture(scope="module")
def server(exported: dict[str, Exported], tmp_path_factory: Any) -> Iterator[RunningServer]:
    bodies = [
        f'name: "{name}" base_path: "{Path(each.path).parent}" model_platform: "tensorflow"'
        for name, each in exported.items()
    ]
    path = tmp_path_factory.mktemp("export_server") / "models.txt"
    # So that method names must be right for Classify and Regress to be answered.
    flags = ["--enable_signature_method_name_check"]
    with RunningServer(write_config(path, bodies), *flags) as running:
        yield running


@pytest.fixture(scope="module")
def client(server: RunningServer) -> Iterator[GrpcClient]:
    with GrpcClient(server.grpc_address) as client:
        yield client


def post(server: RunningServer, model: str, verb: str, body: Any) -> Any:
    url = f"{server.url}/v1/models/{model}:{verb}"
    answer = requests.post(url, json=body, timeout=TIMEOUT_S)
    assert answer.status_code == 200, answer.text
    return answer.json()


def probabilities(income: Any) -> np.ndarray:
    return np.asarray(income([tf.constant(AGES), tf.constant(SCHOOLS)]))[:, 0]


def test_predict_gives_the_model_s_answers_and_the_layer_beside_them(
    client: GrpcClient, income: Any
) -> None:
    outputs = client.predict("income", {"age": AGES, "education": SCHOOLS})

    hidden = keras.Model(income.inputs, income.get_layer("hidden").output)
    expected = np.asarray(hidden([tf.constant(AGES), tf.constant(SCHOOLS)]))
    assert set(outputs) == {"rich", "inner"}
    np.testing.assert_allclose(outputs["rich"][:, 0], probabilities(income), rtol=1e-5)
    np.testing.assert_allclose(outputs["inner"], expected, rtol=1e-5)


def test_classify_answers_with_the_names_of_the_classes(server: RunningServer, income: Any) -> None:
    body = {"signature_name": "classify", "examples": ROWS}
    results = post(server, "income", "classify", body)["results"]

    assert [[label for label, _ in row] for row in results] == [["poor", "rich"]] * 3
    scores = np.array([[score for _, score in row] for row in results])
    rich = probabilities(income)
    np.testing.assert_allclose(scores, np.stack([1 - rich, rich], 1), rtol=1e-4)


def test_regress_answers_with_one_number_a_row(server: RunningServer, income: Any) -> None:
    body = {"signature_name": "regress", "examples": ROWS}
    results = post(server, "income", "regress", body)["results"]

    np.testing.assert_allclose(results, probabilities(income), rtol=1e-4)


def test_one_multi_inference_answers_both(client: GrpcClient, income: Any) -> None:
    from tensorflow_serving.apis import inference_pb2

    request = inference_pb2.MultiInferenceRequest()
    for name in ("regress", "classify"):
        task = request.tasks.add(method_name=f"tensorflow/serving/{name}")
        task.model_spec.name, task.model_spec.signature_name = "income", name
    example = request.input.example_list.examples.add().features.feature
    example["age"].float_list.value.append(22.0)
    example["education"].bytes_list.value.append(b"college")

    regress, classify = client.prediction.MultiInference(request, timeout=TIMEOUT_S).results

    (regression,) = regress.regression_result.regressions
    (classification,) = classify.classification_result.classifications
    assert regression.value == pytest.approx(probabilities(income)[0], rel=1e-4)
    assert classification.classes[1].label == "rich"
    assert classification.classes[1].score == pytest.approx(regression.value)


def test_predict_takes_examples_too_and_outputs_have_the_names_that_were_asked_for(
    client: GrpcClient, income: Any
) -> None:
    feature = tf.train.Feature
    serialized = [
        tf.train.Example(
            features=tf.train.Features(
                feature={
                    "age": feature(float_list=tf.train.FloatList(value=[row["age"]])),
                    "education": feature(
                        bytes_list=tf.train.BytesList(value=[str(row["education"]).encode()])
                    ),
                }
            )
        ).SerializeToString()
        for row in ROWS
    ]
    found = client.predict(
        "income", {"examples": np.array(serialized, object)}, signature="from_examples"
    )

    assert set(found) == {"probability"}
    np.testing.assert_allclose(found["probability"][:, 0], probabilities(income), rtol=1e-5)


def test_classes_from_tensors_are_for_predict(client: GrpcClient, income: Any) -> None:
    inputs = {"age": AGES, "education": SCHOOLS}
    found = client.predict("income", inputs, signature="classes")

    rich = probabilities(income)
    best = np.where(rich > 0.5, b"rich", b"poor")
    assert found["classes"][:, 0].tolist() == best.tolist()
    np.testing.assert_allclose(found["scores"][:, 0], np.maximum(rich, 1 - rich), rtol=1e-4)


def test_a_module_is_asked_by_its_only_function_and_labels_come_from_a_file(
    server: RunningServer,
) -> None:
    petals = [5.0, 3.0, 1.0, 0.5]
    (row,) = post(server, "flowers", "classify", {"examples": [{"petals": petals}]})["results"]

    model = Flowers()
    expected = model.scores(tf.constant([petals]))["probabilities"].numpy()[0]
    assert [label for label, _ in row] == FLOWERS
    np.testing.assert_allclose([score for _, score in row], expected, rtol=1e-5)


def test_a_function_brings_its_variables_along(server: RunningServer) -> None:
    assert post(server, "half_plus", "predict", {"instances": [1.0, 4.0]})["predictions"] == [
        2.5,
        4,
    ]


def test_the_warm_up_requests_are_played(server: RunningServer) -> None:
    server.wait_for_line("Number of warmup records read: 4")


def test_the_result_tells_where_it_is_and_what_it_takes(exported: dict[str, Exported]) -> None:
    income, flowers = str(exported["income"]), exported["flowers"]

    assert income.startswith(f"Exported {exported['income'].path} (")
    assert exported["income"].version == 7
    assert "  signature classify: classify\n    in  inputs: string [?]\n" in income
    assert "    out inner: float32 [?, 3]\n" in income
    assert income.endswith("  warm-up requests: 4")
    assert flowers.version > 1_700_000_000
    assert set(flowers.signatures) == {"serving_default"}


def test_tensorflow_loads_it_with_all_signatures_and_without_the_optimizer(
    exported: dict[str, Exported], income: Any
) -> None:
    path = exported["income"].path
    loaded = tf.saved_model.load(path)

    outputs = loaded.signatures["classes"](age=tf.constant(AGES), education=tf.constant(SCHOOLS))
    assert outputs["classes"].shape == (3, 1)
    names = [name for name, _ in tf.train.list_variables(f"{path}/variables/variables")]
    assert not [name for name in names if "momentum" in name or "optimizer" in name]
    # The hash is that of the file as it is, not as it was before its method names were put right.
    told = tf.saved_model.experimental.read_fingerprint(path)
    assert told.signature_def_hash != 0
    assert [each.name for each in Path(path).iterdir() if each.name == "fingerprint.pb"]


def test_a_server_that_runs_takes_the_next_version(
    server: RunningServer, exported: dict[str, Exported]
) -> None:
    base_path = Path(exported["half_plus"].path).parent

    new = export_model(
        lambda x: {"y": x * 3.0}, base_path, signatures=Predict(inputs={"x": tf.TensorSpec([None])})
    )

    assert new.version > exported["half_plus"].version
    server.wait_for_line(
        f"Successfully loaded servable version {{name: half_plus version: {new.version}}}"
    )
    assert post(server, "half_plus", "predict", {"instances": [2.0]})["predictions"] == [6.0]
