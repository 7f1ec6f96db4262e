"""`salver run`: a model tried on data, in this process or on a running server.

The flags, the output and the files of `saved_model_cli run`, for models of every framework.
"""

import argparse
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from salver.errors import (
    AlreadyExists,
    InvalidArgument,
    NotFound,
    PermissionDenied,
    ServingError,
)

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from salver.backends.registry import Backends
    from salver.inspection.finding import FoundVersion
    from salver.inspection.opening import OpenOptions
    from salver.trial.inputs import GivenInputs
    from salver.trial.targets import Target

FAILED = 1
WRONG_USE = 2
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
    parser = _parser(program)
    try:
        options = parser.parse_args(arguments)
    except SystemExit as end:
        return WRONG_USE if end.code else 0
    # NumPy is imported only now, so that --help is there at once.
    from salver.inspection.finding import told

    try:
        return _run(options)
    except ServingError as error:
        print(f"{program}: {told(error)}", file=sys.stderr)
        return _exit_code(error)


def _parser(program: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=program,
        description=__doc__,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    add = parser.add_argument_group("which model").add_argument
    add("path", nargs="?", help="a version folder, a base path (its newest version runs), or a URI")
    add("--dir", "-dir", help="the same, as saved_model_cli has it")
    add("--url", help="instead of --dir: a server, localhost:8500 (gRPC), http://localhost:8501")
    add("--model", help="with --url: the model's name")
    add("--version", type=int, help="this version, of a base path or of the server")
    add("--label", help="with --url: the version with this label")
    add("--timeout_s", type=float, default=60.0, help="with --url: how long to wait for an answer")
    add(
        "--signature_def",
        "-signature_def",
        default="",
        help="the signature; serving_default, or the only one",
    )
    add(
        "--tag_set",
        "-tag_set",
        default="serve",
        help="tags of the SavedModel's graph, comma-separated",
    )
    add("--model_platform", default="auto", help="the framework, where the files do not tell")
    add("--allow_python_code", action="store_true", help="let Python files of the version run")
    add("--skops_trusted_types", default="", help="types that skops may load, comma-separated")
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
    add("--json", default="", help="the JSON body of a REST request; - reads standard input")
    add("--csv", default="", help="a table whose columns are inputs")
    add("--allow_pickle", action="store_true", help="load pickles, which can run any code")
    add = parser.add_argument_group("outputs").add_argument
    add("--outdir", "-outdir", default="", help="a folder for OUTPUT.npy files")
    add("--overwrite", "-overwrite", action="store_true", help="replace files that are there")
    add("--debug", "--tf_debug", action="store_true", help="show what each operation computes")
    add("--watch", default="", metavar="REGEX", help="with --debug: only operations so named")
    return parser


def _exit_code(error: Exception) -> int:
    """Two for what the user gave, one for what failed."""
    wrong_use = (InvalidArgument, NotFound, AlreadyExists, PermissionDenied)
    return WRONG_USE if isinstance(error, wrong_use) else FAILED


def _run(options: argparse.Namespace) -> int:
    from salver.trial.inputs import Inputs
    from salver.trial.results import require_free, show, show_and_save

    _require_one_place(options)
    inputs = Inputs(_given(options))
    with _target(options) as target:
        signature = target.signature(options.signature_def or inputs.signature_name)
        arrays = inputs.arrays(signature)
        if options.outdir:
            require_free(options.outdir, signature.outputs, overwrite=options.overwrite)
        outputs = target.run(arrays, signature)
    if options.outdir:
        show_and_save(outputs, options.outdir, sys.stdout)
    else:
        show(outputs, sys.stdout)
    return 0


def _require_one_place(options: argparse.Namespace) -> None:
    """Refuse flags that do not go together.

    Raises:
        InvalidArgument: one line that says which.
    """
    if options.path and options.dir:
        raise InvalidArgument("a path and --dir are the same: one of them is enough")
    options.dir = options.dir or options.path
    if bool(options.dir) == bool(options.url):
        raise InvalidArgument("one of --dir and --url says where the model is")
    if options.url and not options.model:
        raise InvalidArgument("--url needs --model, the name of a model that the server serves")
    if options.label and options.version is not None:
        raise InvalidArgument("--version and --label exclude each other")
    for flag in ("model", "label"):
        if getattr(options, flag) and not options.url:
            raise InvalidArgument(f"--{flag} is for --url; --dir names the model's folder")
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
        json=options.json,
        csv=options.csv,
        allow_pickle=options.allow_pickle,
        image_options=ImageOptions(options.image_scale, _size(options.image_size)),
    )
    if given.is_empty():
        raise InvalidArgument(
            "At least one of --inputs, --input_exprs, --input_examples, --images, --json or --csv "
            "is required"
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
    from salver.trial.targets import ServedModel, folder_target, served_target

    if options.url:
        return served_target(
            ServedModel(
                url=options.url,
                model=options.model,
                version=options.version,
                label=options.label,
                timeout_s=options.timeout_s,
            )
        )
    backends = Backends()
    version = _version(options, backends)
    open_options = _open_options(options)
    if options.debug:
        from salver.trial.debugging import debugged_target

        return debugged_target(version, open_options, backends, options.watch, sys.stdout)
    return folder_target(version, open_options, backends)


def _version(options: argparse.Namespace, backends: "Backends") -> "FoundVersion":
    from salver.inspection.finding import newest_version, versions_at

    if options.version is None:
        return newest_version(options.dir, backends)
    found = {version.number: version for version in versions_at(options.dir, backends)}
    if options.version not in found:
        there = ", ".join(str(number) for number in found if number is not None) or "none"
        raise NotFound(f"{options.dir} has no version {options.version}; there are: {there}")
    return found[options.version]


def _open_options(options: argparse.Namespace) -> "OpenOptions":
    from salver.inspection.opening import OpenOptions

    trusted = (name.strip() for name in options.skops_trusted_types.split(","))
    tags = tuple(tag.strip() for tag in options.tag_set.split(",") if tag.strip())
    return OpenOptions(
        platform=options.model_platform,
        tags=tags,
        allow_pickle=options.allow_pickle,
        allow_python_code=options.allow_python_code,
        trusted_types=frozenset(name for name in trusted if name),
    )
