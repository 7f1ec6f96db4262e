"""`salver show PATH`: what a model takes, gives and holds, and what made it.

Prints what saved_model_cli show prints, where its flags are given; works for models of every
backend, and for those of running servers.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from salver.errors import InvalidArgument, ServingError

if TYPE_CHECKING:
    from salver.backends.registry import Backends
    from salver.inspection.answers import Question
    from salver.inspection.description import Description
    from salver.inspection.finding import FoundVersion
    from salver.inspection.opening import OpenOptions

DONE, FAILED, WRONG_USE = 0, 1, 2


def show(program: str, arguments: Sequence[str]) -> int:
    """Print what was asked for; the exit code: `FAILED` where a model could not be loaded."""
    try:
        options = _parser(program).parse_args(arguments)
    except SystemExit as end:
        return WRONG_USE if end.code else DONE
    try:
        if options.url is not None:
            return _show_served(options)
        return _show_files(options)
    except ServingError as error:
        print(f"{program}: {' '.join(error.message.split())}", file=sys.stderr)
        return WRONG_USE


def _parser(program: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog=program, description=__doc__, allow_abbrev=False)
    add = parser.add_argument
    add("path", nargs="?", help="a version folder, a base path with versions, or a URI of either")
    # One dash is enough, and "no" before the name says no, as in the original.
    add("--dir", "-dir", help="the same; prints the tag-sets first, as saved_model_cli does")
    add("--tag_set", "-tag_set", help="the tags of a SavedModel's graph, separated by commas")
    add("--signature_def", "-signature_def", metavar="NAME", help="show this signature alone")
    for name, meaning in (
        ("all", "all that there is, the functions of a SavedModel included"),
        ("list_ops", "the operations of the graph that --tag_set names"),
    ):
        add(f"--{name}", f"-{name}", action="store_true", help=meaning)
        add(f"--no{name}", dest=name, action="store_false", help=argparse.SUPPRESS)
    add("--url", help="ask a running server: localhost:8500, or http://localhost:8501 for REST")
    add("--model", metavar="NAME", help="the model's name at the server")
    add("--version", type=int, metavar="NUMBER", help="this version, of a base path or a server")
    add("--label", help="the version that has this label at the server")
    add("--json", action="store_true", help="print what programs can read; see docs/show.md")
    add("--model_platform", default="auto", metavar="NAME", help="the backend; else files tell")
    add("--allow_pickle", action="store_true", help="load pickled models, which runs their code")
    add("--allow_python_code", action="store_true", help="run Python code of a version")
    add("--skops_trusted_types", default="", metavar="TYPES", help="which files may hold, too")
    return parser


def _show_served(options: argparse.Namespace) -> int:
    if options.path or options.dir:
        raise InvalidArgument("--url asks a server: there is no path to be named with it")
    if not options.model:
        raise InvalidArgument("--url needs --model NAME, too")
    from salver.inspection.served import served_description

    described = served_description(options.url, options.model, options.version, options.label)
    if options.json:
        _print_json([described])
    else:
        from salver.inspection.answers import answer

        print(answer(_question(options), described), end="")
    return DONE


def _show_files(options: argparse.Namespace) -> int:
    path = options.dir or options.path
    if not path or (options.dir and options.path):
        raise InvalidArgument("name one path, as in: salver show PATH; or a server with --url")
    if options.model or options.label:
        raise InvalidArgument("--model and --label are for a server: name it with --url")
    from salver.backends.registry import Backends

    backends = Backends()
    versions = _versions(path, options.version, backends)
    if options.json:
        from salver.inspection.describing import described

        found = [described(each, _open_options(options), backends) for each in versions]
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

    found = looked_at(version, _open_options(options), backends)
    if found.saved_model is None:
        print(answer(_question(options), found.description), end="")
    else:
        question = _question(options)
        print(saved_model_answer(question, found.saved_model, found.description), end="")
    return FAILED if found.description.error else DONE


def _question(options: argparse.Namespace) -> "Question":
    from salver.inspection.answers import Question

    return Question(
        all=options.all,
        tag_set=options.tag_set,
        signature_def=options.signature_def,
        list_ops=options.list_ops,
        like_original=options.dir is not None,
    )


def _open_options(options: argparse.Namespace) -> "OpenOptions":
    from salver.inspection.opening import OpenOptions

    trusted = frozenset(filter(None, options.skops_trusted_types.split(",")))
    return OpenOptions(
        platform=options.model_platform,
        allow_pickle=options.allow_pickle,
        allow_python_code=options.allow_python_code,
        trusted_types=trusted,
    )


def _print_json(descriptions: "Sequence[Description]") -> None:
    from salver.inspection.description import as_json

    print(json.dumps({"versions": [as_json(each) for each in descriptions]}, indent=2))
