"""The rules: what is looked for, how much it matters, and what to do about it."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum


class Severity(IntEnum):
    """How much a finding matters."""

    NOTE = 0
    """Good to know; no reason to refuse the model."""
    MEDIUM = 1
    """What it can do is not known, or needs another weakness to do harm."""
    HIGH = 2
    """It can read or write files, run code or reach out as it is."""


@dataclass(frozen=True, slots=True)
class Rule:
    """One kind of finding."""

    severity: Severity
    why: str
    """Why it matters, for findings that do not say more."""
    advice: str
    """What to do; empty for what is only good to know."""


_HIGH, _MEDIUM, _NOTE = Severity.HIGH, Severity.MEDIUM, Severity.NOTE

RULES: Mapping[str, Rule] = {
    "reads-file": Rule(
        _HIGH,
        "a client or the model's author can read what the server can read",
        "export the model without it: clients send contents, and files that the model needs "
        "are assets",
    ),
    "writes-file": Rule(
        _HIGH,
        "it can change or fill whatever the server may write",
        "export the model without it",
    ),
    "runs-code": Rule(
        _HIGH,
        "code of the model's author runs with the rights of the server",
        "serve it only if you trust its author as you trust the server; better, have it exported "
        "in a form without code",
    ),
    "reaches-network": Rule(
        _HIGH,
        "it can send data away, or be told what to do from outside",
        "export the model without it",
    ),
    "ends-process": Rule(
        _HIGH, "one request can end the server or its accelerator", "export the model without it"
    ),
    "hidden-code": Rule(
        _HIGH,
        "what it does is not in the graph but made when it runs, so that nobody can look at it",
        "export the model without it",
    ),
    "path-outside": Rule(
        _HIGH,
        "it makes the server read or write outside of the model's folder",
        "put the file into the model's folder, under a plain name",
    ),
    "archive-trick": Rule(
        _HIGH,
        "readers of archives disagree about it, or leave their folder",
        "have the archive written again by the framework",
    ),
    "archive-bomb": Rule(
        _HIGH, "it would fill memory or disk when it is unpacked", "do not serve it"
    ),
    "special-file": Rule(
        _HIGH, "to open it can hang or act on a device", "take it out of the folder"
    ),
    "unknown-operation": Rule(
        _MEDIUM,
        "it is native code of a library that TensorFlow or the runtime does not bring along",
        "look at the library that defines it, then let it through with --allow",
    ),
    "distributed": Rule(
        _MEDIUM,
        "it exchanges data with other processes, which a served model has none of",
        "export the model for serving, without the distribution of its training",
    ),
    "unknown-import": Rule(
        _MEDIUM,
        "to unpickle it imports this name and may call it; it is not known to be harmless",
        "look at what it does, then let it through with --allow, or use a format without pickles",
    ),
    "unknown-object": Rule(
        _MEDIUM,
        "to load it makes or calls this, which is not known to be harmless",
        "look at what it does, then let it through with --allow",
    ),
    "python-file": Rule(
        _MEDIUM,
        "it is code; nothing in the server runs it by itself, something in the model may",
        "take it out of the folder unless the model needs it",
    ),
    "native-code": Rule(
        _MEDIUM,
        "it is a program or library; no model needs one in its folder",
        "take it out of the folder",
    ),
    "privileged-file": Rule(
        _MEDIUM,
        "whoever runs it takes on the rights of its owner",
        "take the bit away: chmod u-s,g-s",
    ),
    "two-formats": Rule(
        _MEDIUM,
        "one reader sees another model than the next one",
        "have the file written again by the framework",
    ),
    "unreadable": Rule(
        _MEDIUM,
        "what it holds cannot be told, so it cannot be called safe",
        "have the file written again, or take it out of the folder",
    ),
    "prints": Rule(_NOTE, "what requests carry gets into the server's log", ""),
    "pickle": Rule(
        _NOTE,
        "to load it is to run code of the libraries that it names",
        "",
    ),
    "not-looked-into": Rule(_NOTE, "its kind is not known", ""),
}
"""By name, the gravest first."""
