"""The flag that lets findings of a scan through, of every command that scans."""

import argparse
from typing import TYPE_CHECKING, Any

from salver.errors import InvalidArgument

if TYPE_CHECKING:
    from salver.scanning.report import Allowance


def add_allow_flag(group: Any) -> None:
    """Declare it in a parser, or a group of one."""
    group.add_argument(
        "--allow",
        action="append",
        default=[],
        metavar="RULE[:SUBJECT]",
        help="let a rule through, or one operation, name or file of it; may be repeated",
    )


def allowances(options: argparse.Namespace) -> "tuple[Allowance, ...]":
    """What is let through.

    Raises:
        InvalidArgument: there is no such rule.
    """
    from salver.scanning.report import Allowance

    try:
        return tuple(map(Allowance.of, options.allow))
    except ValueError as error:
        raise InvalidArgument(f"--allow: {error}") from error
