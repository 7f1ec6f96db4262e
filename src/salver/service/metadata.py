"""Metadata: what the signatures of a version look like."""

from collections.abc import Sequence

from salver.core.servable import ServableId
from salver.errors import InvalidArgument
from salver.service.opening import Opening

_SIGNATURE_DEF = "signature_def"


class Metadata:
    """The use case. The signatures stay as the model file states them, serialized."""

    def __init__(self, opening: Opening) -> None:
        self._opening = opening

    @staticmethod
    def check_fields(fields: Sequence[str]) -> None:
        """The only field there is must be asked for.

        Raises:
            InvalidArgument: no field is named, or an unknown one.
        """
        if not fields:
            raise InvalidArgument(
                "GetModelMetadataRequest must specify at least one metadata_field"
            )
        for field in fields:
            if field != _SIGNATURE_DEF:
                raise InvalidArgument(f"Metadata field {field} is not supported")

    def of(self, name: str, version: int | None, label: str | None) -> tuple[ServableId, bytes]:
        """The version that would answer, and its serialized `SignatureDefMap`.

        Raises:
            InvalidArgument: the name is empty, or the label unknown.
            NotFound: that model or version is not available.
        """
        handle = self._opening.open(name, version, label)
        try:
            return handle.id, handle.servable.signature_def_map
        finally:
            handle.release()
