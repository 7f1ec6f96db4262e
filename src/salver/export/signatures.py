"""What a user asks of a signature. Plain values: nothing of TensorFlow is imported here."""

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

Function = str | Callable[..., Any] | None
"""What computes: a callable, or the name of a method of the model; None: the model itself."""
Inputs = Mapping[str, Any] | None
"""A `tf.TensorSpec` for each input, by name; None: what the model or function says of itself."""
Examples = Mapping[str, Any] | bool
"""Features of a `tf.Example` by name (`tf.io.FixedLenFeature` and the like), as for
`tf.io.parse_example`. True: one feature for each input, of its shape. False: tensors come in."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Predict:
    """Named tensors in, named tensors out: the Predict API.

    With `examples`, one input `examples` instead: strings, shape [n], a serialized `tf.Example`
    each.
    """

    function: Function = None
    inputs: Inputs = None
    outputs: Sequence[str] | Mapping[str, str] = ()
    """Which outputs of the function, in this order; a mapping gives them new names: new to old.
    Empty: all."""
    layers: Sequence[str] | Mapping[str, str] = field(default_factory=dict)
    """Outputs of layers of a Keras model, beside its own: layers by name, a mapping from the
    name of the output to that of the layer. `name:1` is the second output of a layer."""
    examples: Examples = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Classify:
    """`classes` (strings) and `scores` (float32), shape [n, classes] both.

    With `examples`, for the Classify API: one input `inputs` of serialized `tf.Example`s, and
    the method name `tensorflow/serving/classify`. Without, the same outputs for the Predict API.
    """

    classes: Sequence[str] | str | os.PathLike[str] | None = None
    """The names of the classes, in the order of the scores, or the path of a text file with one
    on each line. They become an asset of the model. None: an output `classes` of the function,
    or no names."""
    scores: str = ""
    """The output with the scores, shape [n, classes]; with two classes also [n] or [n, 1], the
    probability of the second. Empty: `scores`, or the only one."""
    top_k: int | None = None
    """Only so many classes, best first."""
    function: Function = None
    inputs: Inputs = None
    examples: Examples = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Regress:
    """`outputs` (float32): one number for each row, shape [n] or [n, 1].

    With `examples`, for the Regress API: one input `inputs` of serialized `tf.Example`s, and the
    method name `tensorflow/serving/regress`. Without, the same output for the Predict API.
    """

    output: str = ""
    """The output with the number. Empty: `outputs`, or the only one."""
    function: Function = None
    inputs: Inputs = None
    examples: Examples = False


SignatureRequest = Predict | Classify | Regress
