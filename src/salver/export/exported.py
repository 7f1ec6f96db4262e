"""What was exported, and how it is told."""

from collections.abc import Mapping
from dataclasses import dataclass

from salver.core.data_type import DataType
from salver.core.signature import Signature, TensorSpec


@dataclass(frozen=True, slots=True)
class Exported:
    """One new version. `str` of it tells where it is and what it takes and gives."""

    path: str
    """The folder of the version, or its URI without what is secret in it."""
    version: int
    signatures: Mapping[str, Signature]
    """By name; empty if the model could not be loaded here."""
    size: int
    """Of all files, in bytes."""
    warm_up_requests: int = 0
    caution: str = ""
    """What a server needs to be told before it loads the version; mostly empty."""

    def __str__(self) -> str:
        lines = [f"Exported {self.path} ({_size_text(self.size)})"]
        for name, signature in sorted(self.signatures.items()):
            method = signature.method_name.rpartition("/")[2] or "predict"
            lines.append(f"  signature {name}: {method}")
            lines += [
                f"    {kind} {alias}: {_spec_text(spec)}"
                for kind, specs in (("in ", signature.inputs), ("out", signature.outputs))
                for alias, spec in sorted(specs.items())
            ]
        if self.warm_up_requests:
            lines.append(f"  warm-up requests: {self.warm_up_requests}")
        if self.caution:
            lines.append(f"  caution: {self.caution}")
        return "\n".join(lines)


def _spec_text(spec: TensorSpec) -> str:
    names = {DataType.FLOAT: "float32", DataType.DOUBLE: "float64", DataType.HALF: "float16"}
    kind = names.get(spec.data_type, spec.data_type.short_name)
    if spec.shape is None:
        return f"{kind}, any shape"
    return f"{kind} [{', '.join('?' if size < 0 else str(size) for size in spec.shape)}]"


def _size_text(size: int) -> str:
    if size < 1000:
        return f"{size} bytes"
    for unit, scale in (("kB", 1e3), ("MB", 1e6)):
        if size < 1000 * scale:
            return f"{size / scale:.1f} {unit}"
    return f"{size / 1e9:.1f} GB"
