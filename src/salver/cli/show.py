"""`salver show PATH`: what a model takes, gives and holds, and what made it.

Prints what saved_model_cli show prints, where its flags are given; works for models of every
backend, and for those of running servers.
"""

import argparse
import json
from collections.abc import Sequence
from typing import TYPE_CHECKING

from salver.cli.command_line import DONE, FAILED, ArgumentParser
from salver.cli.model_flags import add_loading_flags, open_options
from salver.cli.server_flags import (
    add_server_flags,
    add_signature_flag,
    add_version_flags,
    require_one_place,
    served_model,
)
from salver.errors import InvalidArgument

if TYPE_CHECKING:
    from salver.backends.registry import Backends
    from salver.inspection.answers import Question
    from salver.inspection.description import Description
    from salver.inspection.finding import FoundVersion

_SCREEN_CODES = {ord(each): ascii(each)[1:-1] for each in "\x1b\x9b\r"}
"""What names in a hostile file would take over the screen with. All else is as in the original."""


def show(program: str, arguments: Sequence[str]) -> int:
    """Print what was asked for; the exit code: `FAILED` where a model could not be loaded."""
    options = _parser(program).parse_args(arguments)
    if options.path and options.dir:
        raise InvalidArgument("a path and --dir are the same: one of them is enough")
    require_one_place(options, options.dir or options.path)
    return _show_served(options) if options.url else _show_files(options)


def _parser(program: str) -> ArgumentParser:
    parser = ArgumentParser(program, __doc__)
    add = parser.add_argument
    add("path", nargs="?", help="a version folder, a base path with versions, or a URI of either")
    # One dash is enough, and "no" before the name says no, as in the original.
    add("--dir", "-dir", help="the same; prints the tag-sets first, as saved_model_cli does")
    add_signature_flag(parser)
    add_version_flags(parser)
    for name, meaning in (
        ("all", "all that there is, the functions of a SavedModel included"),
        ("list_ops", "the operations of the graph that --saved_model_tags names"),
    ):
        add(f"--{name}", f"-{name}", action="store_true", help=meaning)
        add(f"--no{name}", dest=name, action="store_false", help=argparse.SUPPRESS)
    add("--json", action="store_true", help="print what programs can read; see docs/show.md")
    add_server_flags(parser)
    add_loading_flags(parser)
    return parser


def _show_served(options: argparse.Namespace) -> int:
    from salver.inspection.served import served_description

    described = served_description(served_model(options))
    if options.json:
        _print_json([described])
    else:
        from salver.inspection.answers import answer

        _print_text(answer(_question(options), described))
    return DONE


def _show_files(options: argparse.Namespace) -> int:
    path = options.dir or options.path
    from salver.backends.registry import Backends

    backends = Backends()
    versions = _versions(path, options.version, backends)
    if options.json:
        from salver.inspection.describing import described

        found = [described(each, open_options(options), backends) for each in versions]
        _print_json(found)
        return FAILED if any(each.error for each in found) else DONE
    code = DONE
    for number, version in enumerate(versions):
        if len(versions) > 1:
            print("\n" * (number > 0) + f"Version {version.number}:")
        code = max(code, _show_version(version, options, backends))
    return code


def _versions(path: str, number: int | None, backends: "Backends") -> "list[FoundVersion]":
    from salver.inspection.finding import numbered_version, versions_at

    if number is None:
        return versions_at(path, backends)
    return [numbered_version(path, number, backends)]


def _show_version(
    version: "FoundVersion", options: argparse.Namespace, backends: "Backends"
) -> int:
    from salver.inspection.answers import answer, saved_model_answer
    from salver.inspection.describing import looked_at

    found = looked_at(version, open_options(options), backends)
    if found.saved_model is None:
        _print_text(answer(_question(options), found.description))
    else:
        question = _question(options)
        _print_text(saved_model_answer(question, found.saved_model, found.description))
    return FAILED if found.description.error else DONE


def _question(options: argparse.Namespace) -> "Question":
    from salver.inspection.answers import Question

    return Question(
        all=options.all,
        tag_set=options.saved_model_tags,
        signature_def=options.signature or None,
        list_ops=options.list_ops,
        like_original=options.dir is not None,
    )


def _print_text(text: str) -> None:
    print(text.translate(_SCREEN_CODES), end="")


def _print_json(descriptions: "Sequence[Description]") -> None:
    from salver.inspection.description import as_json

    print(json.dumps({"versions": [as_json(each) for each in descriptions]}, indent=2))
