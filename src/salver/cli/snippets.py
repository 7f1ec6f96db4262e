"""`salver snippets --url URL --model M`: source code that calls a served model."""

import argparse
import json
import os
import sys
from collections.abc import Sequence
from importlib import import_module
from typing import TYPE_CHECKING, Any

from salver.core.nearest import nearest
from salver.errors import InvalidArgument, NotFound, ServingError

if TYPE_CHECKING:
    from salver.client import Client

DONE = 0
FAILED = 1
WRONG_USE = 2
_TIMEOUT_S = 30.0
_LANGUAGES = {"curl": "# ", "python": "# ", "java": "// ", "go": "// ", "javascript": "// "}
"""With what a comment begins."""


def snippets(program: str, arguments: Sequence[str]) -> int:
    """Ask the server for the model's signature and print the code; the exit code."""
    parser = argparse.ArgumentParser(prog=program, description=__doc__)
    parser.add_argument("--url", required=True, help="the server, http://localhost:8501")
    parser.add_argument("--model", required=True, help="the model's name")
    parser.add_argument("--language", choices=list(_LANGUAGES), help="by default all of them")
    parser.add_argument("--version", type=int, help="of the model; by default the latest")
    parser.add_argument("--label", help="of a version")
    parser.add_argument("--signature", default="", help="by default serving_default")
    parser.add_argument(
        "--example", action="append", default=[], metavar="JSON",
        help="an example, for signatures that take them; may be repeated",
    )  # fmt: skip
    parser.epilog = (
        "If the variable SALVER_API_KEY is set, its value is sent to the server, and the "
        "snippets read it, too."
    )
    try:
        options = parser.parse_args(arguments)
    except SystemExit as end:
        return WRONG_USE if end.code else DONE
    try:
        texts = _texts(options)
    except ServingError as error:
        print(f"{program}: {error}", file=sys.stderr)
        return WRONG_USE if error.code.name in ("INVALID_ARGUMENT", "NOT_FOUND") else FAILED
    print("\n".join(texts), end="")
    return DONE


def _texts(options: argparse.Namespace) -> list[str]:
    from salver.client import Client
    from salver.client.address import address_of
    from salver.client.snippets.question import KEY_VARIABLE, question_of

    key = os.environ.get(KEY_VARIABLE) or None
    choice: dict[str, Any] = {"version": options.version, "label": options.label}
    examples = tuple(_example(text) for text in options.example)
    with Client(options.url, api_key=key, timeout=_TIMEOUT_S) as client:
        try:
            metadata = client.metadata(options.model, **choice)
        except NotFound as error:
            raise NotFound(f"{error}{_meant(client, options.model)}") from error
    question = question_of(
        address_of(options.url),
        metadata,
        signature=options.signature,
        examples=examples,
        has_key=key is not None,
        **choice,
    )
    if options.language:
        return [_snippet(options.language)(question)]
    texts = []
    for language, comment in _LANGUAGES.items():
        try:
            text = _snippet(language)(question)
        except InvalidArgument as error:
            text = f"{comment}{error}\n"
        texts.append(f"{comment}--- {language}\n{text}")
    return texts


def _meant(client: "Client", model: str) -> str:
    try:
        names = client.models()
    except ServingError:
        return ""
    return "" if model in names else nearest(model, names)


def _snippet(language: str) -> Any:
    return import_module(f"salver.client.snippets.{language}").snippet


def _example(text: str) -> dict[str, Any]:
    try:
        example = json.loads(text)
    except ValueError as error:
        raise InvalidArgument(f"--example {text!r} is no JSON: {error}") from error
    if not isinstance(example, dict):
        raise InvalidArgument(f"--example {text!r} is no JSON object of features")
    return example
