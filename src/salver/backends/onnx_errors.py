"""Errors of ONNX Runtime as ours: its class tells the code, its text says the rest.

The classes come from the runtime's status codes (onnxruntime/core/common/status.h), but most
failures are one of two: FAIL and RUNTIME_EXCEPTION. Those are told apart by their texts.
"""

import re

from salver.errors import (
    InternalError,
    InvalidArgument,
    NotFound,
    ResourceExhausted,
    ServingError,
    Unimplemented,
)

_HEAD = re.compile(r"\[ONNXRuntimeError\] : \d+ : [A-Z_]+ : ")
_NO_MEMORY = re.compile(r"Failed to allocate memory|bad_alloc|out of memory", re.IGNORECASE)
_UNKNOWN_PARTS = re.compile(
    r"Unsupported model IR version|only \*guarantees\* support|No Op registered"
    r"|is not a registered function/op|No opset import for domain"
)
_MISSING_DATA = re.compile(r"External data path does not exist")
_IN_A_NODE = re.compile(r"Non-zero status code returned while running")

_MOST_CHARACTERS = 600
"""Texts of the runtime may repeat names from the file, which may be of any length."""


def load_error(error: Exception, model_name: str, file: str) -> ServingError:
    """What a load that failed is answered with: one line."""
    text = _text(error)
    where = f"Model {model_name}: {file}"
    if _NO_MEMORY.search(text):
        return ResourceExhausted(f"{where} does not fit into memory: {text}")
    if _MISSING_DATA.search(text) or type(error).__name__ == "NoSuchFile":
        return NotFound(f"{where}: {text}")
    if _UNKNOWN_PARTS.search(text) or type(error).__name__ == "NotImplemented":
        return Unimplemented(
            f"{where} has parts that this version of ONNX Runtime does not know: {text}"
        )
    return InvalidArgument(f"{where} is no model that can be loaded: {text}")


def run_error(error: Exception, model_name: str) -> ServingError:
    """What a run that failed is answered with.

    Types and shapes are as the model declares them when it runs, and the graph is known
    to be whole: a node fails because it cannot take these values or sizes.
    """
    text = _text(error)
    message = f"Model {model_name}: {text}"
    if _NO_MEMORY.search(text):
        return ResourceExhausted(message)
    name = type(error).__name__
    if name == "NotImplemented":
        return Unimplemented(message)
    if name == "InvalidArgument" or _IN_A_NODE.search(text):
        return InvalidArgument(message)
    return InternalError(message)


def _text(error: Exception) -> str:
    text = " ".join(_HEAD.sub("", str(error)).split())
    return text if len(text) <= _MOST_CHARACTERS else f"{text[:_MOST_CHARACTERS]}..."
