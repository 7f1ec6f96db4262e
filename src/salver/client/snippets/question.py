"""What a snippet asks: a model's real signature, with sample values of the right shapes."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from salver.client.address import Address
from salver.client.results import ModelMetadata
from salver.core.data_type import DataType
from salver.core.nearest import nearest
from salver.core.signature import DEFAULT_SIGNATURE, Signature, TensorSpec
from salver.errors import InvalidArgument

KEY_VARIABLE = "SALVER_API_KEY"
"""Where the snippets find an API key: they never contain one."""
_SMALL = 24
_FLOATS = {DataType.FLOAT, DataType.DOUBLE}
_INTEGERS = {
    DataType.INT8, DataType.INT16, DataType.INT32, DataType.INT64, DataType.UINT8,
    DataType.UINT32, DataType.UINT64,
}  # fmt: skip
_REAL = {
    DataType.HALF, DataType.BFLOAT16, DataType.FLOAT8_E5M2, DataType.FLOAT8_E4M3FN,
    DataType.FLOAT8_E4M3FNUZ, DataType.FLOAT8_E4M3B11FNUZ, DataType.FLOAT8_E5M2FNUZ,
}  # fmt: skip
_METHODS = {"tensorflow/serving/classify": "classify", "tensorflow/serving/regress": "regress"}


@dataclass(frozen=True, slots=True)
class Sample:
    """A value for one input: the same one everywhere."""

    data_type: DataType
    shape: tuple[int, ...]
    value: float | int | bool | str

    @property
    def is_small(self) -> bool:
        """Whether it can be written out."""
        size = 1
        for dimension in self.shape:
            size *= dimension
        return size <= _SMALL

    @property
    def nested(self) -> Any:
        """The values as lists of lists."""
        nest: Any = self.value
        for dimension in reversed(self.shape):
            nest = [nest] * dimension
        return nest


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """One call. Of `samples` and `examples`, one is there."""

    address: Address
    model: str
    version: int | None
    label: str | None
    signature: str
    """Empty for the default one."""
    verb: str
    """predict, classify or regress."""
    samples: Mapping[str, Sample]
    examples: tuple[dict[str, Any], ...]
    has_key: bool

    @property
    def url(self) -> str:
        """Of REST."""
        path = f"/v1/models/{quote(self.model, safe='')}"
        if self.version is not None:
            path += f"/versions/{self.version}"
        elif self.label is not None:
            path += f"/labels/{quote(self.label, safe='')}"
        return f"{self.address.url}{path}:{self.verb}"

    def body(self, large: Mapping[str, str]) -> str:
        """The JSON body; for samples that are too large to write out, the text in `large`."""
        head = f'"signature_name": {json.dumps(self.signature)}, ' if self.signature else ""
        if self.verb != "predict":
            return f'{{{head}"examples": {json.dumps(list(self.examples))}}}'
        inputs = ", ".join(
            f"{json.dumps(name)}: {large.get(name) or json.dumps(sample.nested)}"
            for name, sample in self.samples.items()
        )
        return f'{{{head}"inputs": {{{inputs}}}}}'

    @property
    def large(self) -> dict[str, Sample]:
        """The samples that are too large to write out."""
        return {name: one for name, one in self.samples.items() if not one.is_small}


def question_of(
    address: Address,
    metadata: ModelMetadata,
    *,
    version: int | None,
    label: str | None,
    signature: str,
    examples: tuple[dict[str, Any], ...],
    has_key: bool,
) -> Question:
    """The call of a signature.

    Raises:
        InvalidArgument: there is no such signature, or examples are missing, or there are some
            for a signature that takes none.
    """
    chosen = _chosen(metadata, signature)
    verb = _METHODS.get(chosen.method_name, "predict")
    where = f"signature {chosen.name!r} of model {metadata.name!r}"
    if verb != "predict" and not examples:
        raise InvalidArgument(
            f"{where} takes examples, and the server does not tell their features: give one, "
            """--example '{"age": 22.0}'"""
        )
    if verb == "predict" and examples:
        raise InvalidArgument(f"{where} takes tensors, not examples: leave --example out")
    return Question(
        address=address,
        model=metadata.name,
        version=version,
        label=label,
        signature="" if chosen.name == DEFAULT_SIGNATURE else chosen.name,
        verb=verb,
        samples={} if examples else {name: _sample(name, one) for name, one in _sorted(chosen)},
        examples=examples,
        has_key=has_key,
    )


def check_rest(question: Question) -> None:
    """REST must be able to carry what is asked.

    Raises:
        InvalidArgument: it cannot.
    """
    if question.address.is_grpc:
        raise InvalidArgument(
            f"{question.address} is a gRPC address, and this language's snippet uses REST: give "
            "the server's http:// address"
        )
    carried = _FLOATS | _INTEGERS | {DataType.BOOL, DataType.STRING}
    for name, sample in question.samples.items():
        if sample.data_type not in carried:
            raise InvalidArgument(
                f"input {name!r} is {sample.data_type.short_name}, which the REST API cannot "
                "carry: use --language python with the server's gRPC address"
            )


def _chosen(metadata: ModelMetadata, name: str) -> Signature:
    usable = {key: one for key, one in metadata.signatures.items() if one.inputs}
    if not name and DEFAULT_SIGNATURE not in usable and len(usable) == 1:
        return next(iter(usable.values()))
    wanted = name or DEFAULT_SIGNATURE
    if wanted not in usable:
        raise InvalidArgument(
            f"model {metadata.name!r} has no signature {wanted!r} with inputs"
            f"{nearest(wanted, usable)}"
        )
    return usable[wanted]


def _sorted(signature: Signature) -> list[tuple[str, TensorSpec]]:
    return sorted(signature.inputs.items())


def _sample(name: str, spec: TensorSpec) -> Sample:
    shape = (1,) if spec.shape is None else tuple(1 if size < 0 else size for size in spec.shape)
    value: float | int | bool | str
    if spec.data_type is DataType.STRING:
        value = "text"
    elif spec.data_type is DataType.BOOL:
        value = True
    elif spec.data_type in _FLOATS | _REAL:
        value = 0.5
    elif spec.data_type in (DataType.RESOURCE, DataType.VARIANT, DataType.INVALID):
        raise InvalidArgument(f"input {name!r} is {spec.data_type.short_name}: nothing can be sent")
    else:
        value = 1
    return Sample(spec.data_type, shape, value)
