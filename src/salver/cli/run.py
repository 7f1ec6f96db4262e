"""`salver run`: a model tried on data, in this process or on a running server.

The flags, the output and the files of `saved_model_cli run`, for models of every framework.
"""

import argparse
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from salver.cli.command_line import DONE, ArgumentParser, not_negative
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
    from contextlib import AbstractContextManager

    from salver.backends.registry import Backends
    from salver.inspection.finding import FoundVersion
    from salver.trial.inputs import GivenInputs
    from salver.trial.targets import Target

_LARGEST_SIDE = 16384

_EPILOG = """\
inputs are given by name, several parted by a semicolon:
  --inputs 'x=data.npy;y=more.npz[key]'
  --input_exprs 'x=np.ones((2, 3));y=[1, 2]'
  --input_examples 'examples=[{"age": [22.0], "name": ["Ada"]}]'
  --images 'image=cat.jpg,dog.jpg'
"""


def run(program: str, arguments: Sequence[str]) -> int:
    """Run one signature on the inputs given, print and save the outputs; the exit code."""
    return _run(_parser(program).parse_args(arguments))


def _parser(program: str) -> ArgumentParser:
    parser = ArgumentParser(program, __doc__, _EPILOG)
    add = parser.add_argument
    add("path", nargs="?", help="a version folder, a base path (its newest version runs), or a URI")
    add("--dir", "-dir", help="the same, as saved_model_cli has it")
    add_signature_flag(parser)
    add_version_flags(parser)
    add = parser.add_argument_group("inputs").add_argument
    add(
        "--inputs",
        "-inputs",
        default="",
        help="arrays from files: .npy, .npz[key], pickles if allowed",
    )
    add(
        "--input_exprs",
        "-input_exprs",
        default="",
        help="NumPy expressions; only a safe part of NumPy",
    )
    add(
        "--input_examples",
        "-input_examples",
        default="",
        help="tf.Examples, as lists of dictionaries",
    )
    add("--images", default="", help="image files, resized to the input; needs Pillow")
    add("--image_scale", default="0..255", help="0..255 (default), 0..1 or -1..1")
    add("--image_size", help="HEIGHTxWIDTH, where the input leaves it open")
    add("--request", default="", metavar="FILE", help="the JSON body of a REST request; or -")
    add("--csv", default="", help="a table whose columns are inputs")
    add = parser.add_argument_group("outputs").add_argument
    add("--outdir", "-outdir", default="", help="a folder for OUTPUT.npy files")
    add("--overwrite", "-overwrite", action="store_true", help="replace files that are there")
    add("--debug", "--tf_debug", action="store_true", help="show what each operation computes")
    add("--watch", default="", metavar="REGEX", help="with --debug: only operations so named")
    server = add_server_flags(parser)
    server.add_argument(
        "--timeout_s", type=not_negative, default=60.0, help="how long to wait for an answer (60)"
    )
    add_loading_flags(parser)
    return parser


def _run(options: argparse.Namespace) -> int:
    from salver.trial.inputs import Inputs
    from salver.trial.results import require_free, show, show_and_save

    _require_one_place(options)
    inputs = Inputs(_given(options))
    with _target(options) as target:
        signature = target.signature(options.signature or inputs.signature_name)
        arrays = inputs.arrays(signature)
        if options.outdir:
            require_free(options.outdir, signature.outputs, overwrite=options.overwrite)
        outputs = target.run(arrays, signature)
    if options.outdir:
        show_and_save(outputs, options.outdir, sys.stdout)
    else:
        show(outputs, sys.stdout)
    return DONE


def _require_one_place(options: argparse.Namespace) -> None:
    """Refuse flags that do not go together.

    Raises:
        InvalidArgument: one line that says which.
    """
    if options.path and options.dir:
        raise InvalidArgument("a path and --dir are the same: one of them is enough")
    options.dir = options.dir or options.path
    require_one_place(options, options.dir)
    if options.debug and options.url:
        raise InvalidArgument("--debug looks into a model in this process: it needs --dir")
    if options.watch and not options.debug:
        raise InvalidArgument("--watch is for --debug")
    if options.overwrite and not options.outdir:
        raise InvalidArgument("--overwrite is for --outdir")


def _given(options: argparse.Namespace) -> "GivenInputs":
    from salver.trial.image_files import SCALES, ImageOptions
    from salver.trial.inputs import GivenInputs

    if options.image_scale not in SCALES:
        raise InvalidArgument(f"--image_scale={options.image_scale}: there are {', '.join(SCALES)}")
    given = GivenInputs(
        files=options.inputs,
        expressions=options.input_exprs,
        examples=options.input_examples,
        images=options.images,
        json=options.request,
        csv=options.csv,
        allow_pickle=options.allow_pickle,
        image_options=ImageOptions(options.image_scale, _size(options.image_size)),
    )
    if given.is_empty():
        raise InvalidArgument(
            "At least one of --inputs, --input_exprs, --input_examples, --images, --request or "
            "--csv is required"
        )
    return given


def _size(text: str | None) -> tuple[int, int] | None:
    if text is None:
        return None
    height, cross, width = text.lower().partition("x")
    if not (cross and height.isdecimal() and width.isdecimal() and int(height) and int(width)):
        raise InvalidArgument(f"--image_size={text}: it is of the form HEIGHTxWIDTH, 224x224")
    if max(int(height), int(width)) > _LARGEST_SIDE:
        raise InvalidArgument(f"--image_size={text}: no side may be above {_LARGEST_SIDE}")
    return int(height), int(width)


def _target(options: argparse.Namespace) -> "AbstractContextManager[Target]":
    from salver.backends.registry import Backends
    from salver.trial.targets import folder_target, served_target

    if options.url:
        return served_target(served_model(options, options.timeout_s))
    backends = Backends()
    version = _version(options, backends)
    if options.debug:
        from salver.trial.debugging import debugged_target

        return debugged_target(version, open_options(options), backends, options.watch, sys.stdout)
    return folder_target(version, open_options(options), backends)


def _version(options: argparse.Namespace, backends: "Backends") -> "FoundVersion":
    from salver.inspection.finding import newest_version, numbered_version

    if options.version is None:
        return newest_version(options.dir, backends)
    return numbered_version(options.dir, options.version, backends)
