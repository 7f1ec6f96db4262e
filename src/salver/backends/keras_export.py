"""Run as a program: exports Keras files as SavedModels, one for each line of its input.

A line is an object in JSON with `file`, `folder` and `unsafe`, whether code in the file may be
run; the answer is an object on a line, empty if the export is done, else with `code` and `message`.
"""

import json
import os
import sys
from contextlib import suppress
from typing import Any, TextIO

from salver.errors import Code

_CAUSE = "Exception encountered: "
"""Before the reason, in the errors of nested layers, each of which repeats its whole config."""
_MOST_CHARACTERS = 600


def main() -> None:
    answers = _own_output()
    # If memory runs out, it is this process that goes, not the server.
    with suppress(OSError), open("/proc/self/oom_score_adj", "w") as score:
        score.write("1000")
    for line in sys.stdin:
        print(json.dumps(_answer(**json.loads(line))), file=answers, flush=True)


def _own_output() -> TextIO:
    """A stream of answers that nothing else is written to: a model may print."""
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "w")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    return answers


def _answer(file: str, folder: str, unsafe: bool) -> dict[str, object]:
    try:
        import keras
    except ImportError as error:
        return _failure(Code.FAILED_PRECONDITION, f"Keras cannot be imported: {error}")
    try:
        _export(keras, file, folder, unsafe)
    except Exception as error:  # noqa: BLE001 - whatever it is, it is the file's
        return _failure(*_told(error))
    finally:
        keras.backend.clear_session()
    return {}


def _export(keras: Any, file: str, folder: str, unsafe: bool) -> None:
    model = keras.saving.load_model(file, compile=False, safe_mode=not unsafe)
    model.export(folder, format="tf_saved_model", verbose=False)


def _told(error: Exception) -> tuple[Code, str]:
    text = str(error).rpartition(_CAUSE)[2]
    if "safe_mode" in str(error) or "unsafe_deserialization" in str(error):
        return Code.PERMISSION_DENIED, (
            "it has Python code in it, a Lambda layer for instance, which would run with all "
            "rights of the server; --allow_pickle allows it for models that you trust"
        )
    if isinstance(error, MemoryError) or type(error).__name__ == "ResourceExhaustedError":
        return Code.RESOURCE_EXHAUSTED, f"it does not fit into memory: {text}"
    return Code.INVALID_ARGUMENT, f"Keras cannot load and export it: {text}"


def _failure(code: Code, text: str) -> dict[str, object]:
    message = " ".join(text.split())
    if len(message) > _MOST_CHARACTERS:
        message = f"{message[:_MOST_CHARACTERS]}..."
    return {"code": int(code), "message": message}


if __name__ == "__main__":
    main()
