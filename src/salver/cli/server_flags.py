"""The flags that name a model of a running server, of every command that asks one."""

import argparse
import os
from typing import TYPE_CHECKING, Any

from salver.errors import InvalidArgument

if TYPE_CHECKING:
    from salver.client import Tls
    from salver.inspection.served import ServedModel

API_KEY = "SALVER_API_KEY"


def add_server_flags(parser: argparse.ArgumentParser, title: str = "a running server") -> Any:
    """Declare --url, --model and what the connection needs; the group."""
    group = parser.add_argument_group(
        title, f"An API key is taken from the environment variable {API_KEY}."
    )
    add = group.add_argument
    add("--url", help="its address: localhost:8500 (gRPC), http://localhost:8501 (REST)")
    add("--model", metavar="NAME", help="the name of the model there")
    add("--ca_file", metavar="FILE", help="PEM: who has issued the server's certificate")
    add("--client_certificate", metavar="FILE", help="PEM, for servers that want one")
    add("--client_key", metavar="FILE", help="PEM, its key")
    return group


def add_version_flags(parser: argparse.ArgumentParser) -> None:
    """Declare which version is meant."""
    add = parser.add_argument
    add("--version", type=int, metavar="NUMBER", help="this version; else the newest")
    add("--label", help="the version with this label at the server")


def add_signature_flag(parser: argparse.ArgumentParser) -> None:
    """Declare which signature is meant; as it is called here, and in saved_model_cli."""
    parser.add_argument(
        "--signature",
        "--signature_def",
        "-signature_def",
        dest="signature",
        default="",
        metavar="NAME",
        help="else serving_default, or the only one",
    )


def require_one_place(options: argparse.Namespace, path: str | None) -> None:
    """Refuse flags that name no model or two; `path` is that of a folder.

    Raises:
        InvalidArgument: one line that says which.
    """
    if bool(path) == bool(options.url):
        raise InvalidArgument("name one model: a folder, or a server's with --url and --model")
    if options.url:
        require_server(options)
    elif options.model or options.label:
        raise InvalidArgument("--model and --label are for a server: name it with --url")


def require_server(options: argparse.Namespace) -> None:
    """Refuse flags that do not name one version of a server's model.

    Raises:
        InvalidArgument: one line that says which.
    """
    if not options.url and not options.model:
        raise InvalidArgument("--url and --model say which server, and which of its models")
    require_model(options)
    if options.label and options.version is not None:
        raise InvalidArgument("--version and --label exclude each other")


def require_model(options: argparse.Namespace) -> None:
    """Refuse half of what names a model of a server.

    Raises:
        InvalidArgument: one line that says which.
    """
    if bool(options.url) != bool(options.model):
        raise InvalidArgument("--url and --model go together: a server, and a model's name there")


def api_key() -> str | None:
    """The secret of the environment."""
    return os.environ.get(API_KEY) or None


def tls(options: argparse.Namespace) -> "Tls | None":
    """The certificates; None without any.

    Raises:
        InvalidArgument: a certificate without its key.
    """
    from salver.client import Tls

    files = (options.ca_file, options.client_certificate, options.client_key)
    return Tls(ca=files[0], certificate=files[1], key=files[2]) if any(files) else None


def served_model(options: argparse.Namespace, timeout_s: float = 60.0) -> "ServedModel":
    """The model that the flags name.

    Raises:
        InvalidArgument: a certificate without its key.
    """
    from salver.inspection.served import ServedModel

    return ServedModel(
        url=options.url,
        model=options.model,
        version=options.version,
        label=options.label,
        timeout_s=timeout_s,
        api_key=api_key(),
        tls=tls(options),
    )
