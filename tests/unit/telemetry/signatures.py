"""A prepared signature of a model that is never run."""

from salver.core.servable import Program
from salver.core.signature import Signature
from salver.execution.prepared import PreparedServable, PreparedSignature


class NeverRun:
    """A servable with one signature."""

    signature_def_map = b""

    def __init__(self, name: str) -> None:
        self.signatures = {name: Signature(name, {}, {})}

    def program(self, feeds: tuple[str, ...], fetches: tuple[str, ...]) -> Program:
        class NoProgram:
            def run(self, inputs: object) -> list[object]:
                raise AssertionError("nothing is run here")

        return NoProgram()  # type: ignore[return-value]


def prepared(name: str = "serving_default") -> PreparedSignature:
    """A new one each time, with nothing measured yet."""
    return PreparedServable(NeverRun(name)).signatures[name]
