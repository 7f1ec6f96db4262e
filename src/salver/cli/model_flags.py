"""The flags that say how a model is loaded in this process, of every command that does."""

import argparse
from typing import TYPE_CHECKING

from salver.cli.command_line import names

if TYPE_CHECKING:
    from salver.inspection.opening import OpenOptions


def add_loading_flags(parser: argparse.ArgumentParser) -> None:
    """Declare them, named as those of `salver serve`."""
    add = parser.add_argument_group("how a model is loaded, as `salver serve` has it").add_argument
    add("--model_platform", metavar="NAME", default="auto", help="the backend; else files tell")
    add(
        "--saved_model_tags",
        "--tag_set",
        "-tag_set",
        dest="saved_model_tags",
        metavar="TAGS",
        help="of a SavedModel's graph, comma-separated (serve)",
    )
    add("--allow_pickle", action="store_true", help="load pickles, which run any code in them")
    add("--allow_python_code", action="store_true", help="run the Python code in a version")
    add(
        "--skops_trusted_types",
        metavar="TYPES",
        default="",
        help="types that skops files may hold, too, comma-separated",
    )
    add_cache_flag(parser)


def add_cache_flag(parser: argparse.ArgumentParser) -> None:
    """The flag of commands that read versions from storage."""
    parser.add_argument(
        "--model_cache_dir", metavar="FOLDER", default="", help="for copies of remote versions"
    )


def open_options(options: argparse.Namespace, concurrency: int = 1) -> "OpenOptions":
    """What the flags say."""
    from salver.inspection.opening import OpenOptions

    return OpenOptions(
        platform=options.model_platform,
        tags=names(options.saved_model_tags or "serve"),
        concurrency=concurrency,
        allow_pickle=options.allow_pickle,
        allow_python_code=options.allow_python_code,
        trusted_types=frozenset(names(options.skops_trusted_types)),
        model_cache_dir=options.model_cache_dir,
    )
