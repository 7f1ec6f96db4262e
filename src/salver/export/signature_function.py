"""The function behind each signature: Examples parsed before the model, results in form after it.

The constants of Classify and Regress are those of TensorFlow Serving: one input `inputs`, outputs
`classes` and `scores`, or `outputs`. Source: tensorflow/python/saved_model/signature_constants.py.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from salver.core.nearest import nearest
from salver.errors import InvalidArgument
from salver.export.class_labels import ClassLabels
from salver.export.example_features import features_of, parsed
from salver.export.model_function import ModelFunction, Named
from salver.export.signatures import Classify, Predict, Regress, SignatureRequest

PREDICT_METHOD = "tensorflow/serving/predict"
CLASSIFY_METHOD = "tensorflow/serving/classify"
REGRESS_METHOD = "tensorflow/serving/regress"

_Step = Callable[[Named], Named]


@dataclass(frozen=True, slots=True)
class SignatureFunction:
    """What is saved under one name."""

    name: str
    method_name: str
    specs: Mapping[str, Any]
    """A `tf.TensorSpec` for each input."""
    function: Any
    """A `tf.function` of one dictionary of the inputs."""
    features: Mapping[str, Any] | None = None
    """What each Example has, where the only input is Examples."""


def signature_function(
    tf: Any,
    name: str,
    request: SignatureRequest,
    function: ModelFunction,
    labels: ClassLabels | None = None,
) -> SignatureFunction:
    """Make the function of one signature, and trace it once.

    Raises:
        InvalidArgument: the request does not fit the function, or the function fails.
    """
    where = f"signature {name!r}"
    before: _Step = _unchanged
    after = _step_after(tf, request, labels, where)
    if request.examples is False or request.examples is None:
        if function.inputs is None:
            raise InvalidArgument(
                f"{where}: the function does not say what it takes: give it an input_signature, "
                "or inputs={'x': tf.TensorSpec([None, 4], tf.float32)}"
            )
        specs, features, method = dict(function.inputs), None, PREDICT_METHOD
    else:
        features = features_of(tf, request.examples, function.inputs, where)
        serialized = "examples" if isinstance(request, Predict) else "inputs"
        specs = {serialized: tf.TensorSpec([None], tf.string, name=serialized)}
        before = _step_before(tf, features, function, serialized, where)
        method = _METHODS[type(request)]

    def whole(inputs: Named) -> Named:
        return after(function.call(before(inputs)))

    graph = tf.function(whole, input_signature=[specs], autograph=False)
    _trace(tf, graph, where)
    return SignatureFunction(name, method, specs, graph, features)


_METHODS: Mapping[type, str] = {
    Predict: PREDICT_METHOD,
    Classify: CLASSIFY_METHOD,
    Regress: REGRESS_METHOD,
}


def _trace(tf: Any, graph: Any, where: str) -> None:
    try:
        graph.get_concrete_function()
    except InvalidArgument:
        raise
    except Exception as error:
        told = " ".join(str(error).split())
        raise InvalidArgument(
            f"{where}: the model cannot be called with these inputs: {type(error).__name__}: {told}"
        ) from error


def _unchanged(named: Named) -> Named:
    return named


def _step_before(
    tf: Any, features: Mapping[str, Any], function: ModelFunction, serialized: str, where: str
) -> _Step:
    def parse(named: Named) -> Named:
        return parsed(tf, named[serialized], features, function.inputs, where)

    return parse


def _step_after(
    tf: Any, request: SignatureRequest, labels: ClassLabels | None, where: str
) -> _Step:
    if isinstance(request, Predict):
        return lambda outputs: _chosen(outputs, request.outputs, where)
    if isinstance(request, Classify):
        return lambda outputs: _classification(tf, outputs, request, labels, where)
    return lambda outputs: _regression(tf, outputs, request, where)


def _chosen(outputs: Named, wanted: Sequence[str] | Mapping[str, str], where: str) -> Named:
    if not wanted:
        return outputs
    renamed = wanted if isinstance(wanted, Mapping) else {name: name for name in wanted}
    return {new: _output(outputs, old, where) for new, old in renamed.items()}


def _output(outputs: Named, name: str, where: str) -> Any:
    if name not in outputs:
        raise InvalidArgument(f"{where}: the model has no output {name!r}{nearest(name, outputs)}")
    return outputs[name]


def _only(outputs: Named, usual: str, parameter: str, where: str) -> Any:
    """The output of the usual name, or the only one there is."""
    if usual in outputs:
        return outputs[usual]
    if len(outputs) == 1:
        return next(iter(outputs.values()))
    raise InvalidArgument(
        f"{where}: say which output with {parameter}=; there are: "
        + ", ".join(map(repr, sorted(outputs)))
    )


def _numbers(tf: Any, tensor: Any, what: str) -> Any:
    """float32, which is what Classify and Regress answer with."""
    if not tensor.dtype.is_floating:
        raise InvalidArgument(f"{what} are {tensor.dtype.name}; they must be floating-point")
    return tensor if tensor.dtype == tf.float32 else tf.cast(tensor, tf.float32)


def _classification(
    tf: Any, outputs: Named, request: Classify, labels: ClassLabels | None, where: str
) -> Named:
    own_classes = outputs.get("classes") if labels is None else None
    given = {name: each for name, each in outputs.items() if name != "classes"}
    if request.scores:
        scores = _output(outputs, request.scores, where)
    else:
        scores = _only(given if own_classes is not None else outputs, "scores", "scores", where)
    scores = _numbers(tf, scores, f"{where}: the scores")
    if labels is not None and labels.count == 2:
        scores = _of_two(tf, scores)
    if scores.shape.rank not in (2, None):
        raise InvalidArgument(
            f"{where}: the scores have the shape {scores.shape}; it must be [n, classes]"
        )
    count = scores.shape[1] if scores.shape.rank else None
    if labels is not None and count not in (None, labels.count):
        raise InvalidArgument(
            f"{where}: {labels.count} classes are named, and the model has scores for {count}"
        )
    indices = None
    if request.top_k is not None:
        scores, indices = _best(tf, scores, request.top_k, count, where)
    if own_classes is not None:
        return {"classes": _own(tf, own_classes, indices, where), "scores": scores}
    if labels is None:
        if indices is None:
            return {"scores": scores}
        raise InvalidArgument(f"{where}: top_k needs the names of the classes, too: classes=[...]")
    if indices is None:
        rows = tf.range(tf.shape(scores, tf.int64)[1])[tf.newaxis, :]
        indices = tf.tile(rows, [tf.shape(scores)[0], 1])
    return {"classes": labels.of(tf.cast(indices, tf.int64)), "scores": scores}


def _of_two(tf: Any, scores: Any) -> Any:
    """Both scores, where the model gives the probability of the second class alone."""
    if scores.shape.rank == 1:
        scores = scores[:, tf.newaxis]
    if scores.shape.rank == 2 and scores.shape[1] == 1:
        return tf.concat([1.0 - scores, scores], axis=1)
    return scores


def _best(tf: Any, scores: Any, top_k: int, count: int | None, where: str) -> tuple[Any, Any]:
    if top_k < 1 or (count is not None and top_k > count):
        raise InvalidArgument(f"{where}: top_k is {top_k}, of {count or 'some'} classes")
    best = tf.math.top_k(scores, top_k)
    return best.values, best.indices


def _own(tf: Any, classes: Any, indices: Any, where: str) -> Any:
    if classes.dtype != tf.string:
        raise InvalidArgument(
            f"{where}: the output 'classes' is {classes.dtype.name}; labels are strings"
        )
    return classes if indices is None else tf.gather(classes, indices, batch_dims=1)


def _regression(tf: Any, outputs: Named, request: Regress, where: str) -> Named:
    if request.output:
        value = _output(outputs, request.output, where)
    else:
        value = _only(outputs, "outputs", "output", where)
    value = _numbers(tf, value, f"{where}: the outputs")
    shape = value.shape
    if (
        shape.rank is not None
        and shape.rank != 1
        and not (shape.rank == 2 and shape[1] in (1, None))
    ):
        raise InvalidArgument(
            f"{where}: the output has the shape {shape}; it must be [n] or [n, 1], one number a row"
        )
    return {"outputs": value}
