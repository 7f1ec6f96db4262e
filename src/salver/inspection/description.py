"""What there is to tell about one version of a model, whatever its framework."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from salver.codecs.messages import WireMessage
from salver.inspection.saved_model import type_label
from salver.scanning.report import Finding


@dataclass(frozen=True, slots=True)
class Numbers:
    """Values that a model holds."""

    count: int
    size: int
    """In bytes."""
    trainable: int | None = None
    """So many of them; None: the file does not say."""


@dataclass(frozen=True, slots=True)
class File:
    """A file of a version, by its path within it."""

    name: str
    size: int | None
    """In bytes; None: the model names it, and it is not there."""


@dataclass(frozen=True, slots=True)
class WarmUpRequests:
    """What lies in `assets.extra/tf_serving_warmup_requests`."""

    kinds: Mapping[str, int]
    """How many of each: `predict`, `classify`, `regress`, `multi_inference` and the like."""
    error: str = ""
    """What is wrong with the file."""

    @property
    def count(self) -> int:
        return sum(self.kinds.values())


@dataclass(frozen=True, slots=True, kw_only=True)
class Description:
    """One version."""

    path: str
    """Without secrets. Empty: it is known by its server alone."""
    model: str = ""
    """Its name at the server that was asked."""
    url: str = ""
    """The server's, without secrets."""
    number: int | None
    backend: str
    """As in `model_platform`; empty where a server does not say."""
    written_by: str = ""
    """The program that wrote the model, and the version of its format, as far as files say."""
    files: Sequence[File] = ()
    signatures: Mapping[str, WireMessage] = field(default_factory=dict)
    """`tensorflow.SignatureDef`s, by name."""
    tag_sets: Sequence[Sequence[str]] = ()
    operations: Sequence[str] = ()
    parameters: Numbers | None = None
    """Variables of the model; None: nothing is known of them."""
    constants: Numbers | None = None
    """What is written into the graph itself."""
    assets: Sequence[File] = ()
    warm_up: WarmUpRequests | None = None
    states: Mapping[int, str] = field(default_factory=dict)
    """Of all versions of the model at its server: `AVAILABLE` and the like."""
    findings: Sequence[Finding] = ()
    """What the model could do beside computing."""
    pipeline: bool = False
    """Whether a `pipeline.py` stands around the model, and decides what clients see."""
    error: str = ""
    """Why nothing is known of the signatures."""

    @property
    def size(self) -> int:
        """Of all files, in bytes."""
        return sum(file.size or 0 for file in self.files)


def as_json(description: Description) -> dict[str, Any]:
    """The stable form for programs; docs/show.md says what each field means."""
    warm_up = description.warm_up
    return {
        "path": description.path or None,
        "url": description.url or None,
        "model": description.model or None,
        "version": description.number,
        "backend": description.backend or None,
        "written_by": description.written_by or None,
        "size": description.size if description.files else None,
        "files": [{"name": file.name, "size": file.size} for file in description.files],
        "parameters": _numbers_json(description.parameters),
        "constants": _numbers_json(description.constants),
        "tag_sets": [list(tags) for tags in description.tag_sets],
        "signatures": {
            name: signature_json(definition)
            for name, definition in sorted(description.signatures.items())
        },
        "operations": list(description.operations),
        "assets": [{"name": file.name, "size": file.size} for file in description.assets],
        "warm_up": warm_up
        and {"requests": warm_up.count, **warm_up.kinds, "error": warm_up.error or None},
        "needs_care": [
            {
                "severity": finding.severity.name.lower(),
                "rule": finding.rule,
                "where": finding.where,
                "what": finding.what,
            }
            for finding in description.findings
        ],
        "states": {str(number): state for number, state in sorted(description.states.items())},
        "pipeline": description.pipeline,
        "error": description.error or None,
    }


def _numbers_json(numbers: Numbers | None) -> dict[str, int | None] | None:
    if numbers is None:
        return None
    return {"count": numbers.count, "trainable": numbers.trainable, "size": numbers.size}


def signature_json(definition: WireMessage) -> dict[str, Any]:
    """One `tensorflow.SignatureDef`."""
    return {
        "method_name": definition.method_name,
        "inputs": _tensors_json(definition.inputs),
        "outputs": _tensors_json(definition.outputs),
        "defaults": sorted(definition.defaults),
    }


def _tensors_json(infos: Mapping[str, WireMessage]) -> dict[str, Any]:
    return {
        name: {
            "dtype": type_label(infos[name].dtype),
            "shape": shape_of(infos[name]),
            "name": infos[name].name,
        }
        for name in sorted(infos)
    }


def shape_of(info: WireMessage) -> list[int] | None:
    """The shape in a `tensorflow.TensorInfo`: -1 for any size, None for any rank."""
    shape = info.tensor_shape
    return None if shape.unknown_rank else [dim.size for dim in shape.dim]
