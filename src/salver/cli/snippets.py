"""`salver snippets --url URL --model M`: source code that calls a served model."""

import argparse
import json
from collections.abc import Sequence
from importlib import import_module
from typing import Any

from salver.cli.command_line import DONE, ArgumentParser
from salver.cli.server_flags import (
    API_KEY,
    add_server_flags,
    add_signature_flag,
    add_version_flags,
    api_key,
    require_server,
    served_model,
)
from salver.errors import InvalidArgument

_TIMEOUT_S = 30.0
_LANGUAGES = {"curl": "# ", "python": "# ", "java": "// ", "go": "// ", "javascript": "// "}
"""With what a comment begins."""


def snippets(program: str, arguments: Sequence[str]) -> int:
    """Ask the server for the model's signature and print the code; the exit code."""
    parser = ArgumentParser(program, __doc__, f"If {API_KEY} is set, the snippets read it, too.")
    parser.add_argument("--language", choices=list(_LANGUAGES), help="by default all of them")
    add_signature_flag(parser)
    add_version_flags(parser)
    parser.add_argument(
        "--example", action="append", default=[], metavar="JSON",
        help="an example, for signatures that take them; may be repeated",
    )  # fmt: skip
    add_server_flags(parser)
    options = parser.parse_args(arguments)
    require_server(options)
    print("\n".join(_texts(options)), end="")
    return DONE


def _texts(options: argparse.Namespace) -> list[str]:
    from salver.client.address import address_of
    from salver.client.snippets.question import question_of

    served = served_model(options, _TIMEOUT_S)
    examples = tuple(_example(text) for text in options.example)
    with served.client() as client:
        metadata = served.metadata(client)
    question = question_of(
        address_of(options.url),
        metadata,
        signature=options.signature,
        examples=examples,
        has_key=api_key() is not None,
        version=options.version,
        label=options.label,
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
