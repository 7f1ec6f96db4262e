"""`salver rollback BASE_PATH`: return to the version before the newest one, or undo that."""

import sys
from collections.abc import Sequence

from salver.cli.command_line import SIGNAL, ArgumentParser
from salver.cli.push import (
    add_waiting_flags,
    hushed,
    require_report_folder,
    server_options,
    written,
)
from salver.cli.server_flags import require_model

EXIT_CODES = """The newest version N is renamed to rolled-back-N, which no server takes for a
version: those with the default version policy return to the one before. --undo
brings it back.

exit codes:
  0  done
  1  there is no version to return to, or none to bring back
  2  wrong flags
  3  the server could not serve the version; all is as it was
  4  the storage could not be asked; all is as it was
  5  the server or the storage failed, and not all is as it was
  128 and the number of the signal (130, 143): interrupted; all is as it was
"""


@hushed()
def rollback(program: str, arguments: Sequence[str]) -> int:
    """Do as the arguments say; the exit code."""
    parser = ArgumentParser(program, __doc__, EXIT_CODES)
    parser.add_argument("base_path", metavar="BASE_PATH", help="a path or a URI")
    chosen = parser.add_mutually_exclusive_group()
    chosen.add_argument("--to", metavar="VERSION", type=int, help="return to this version")
    chosen.add_argument("--undo", action="store_true", help="bring back what was rolled back last")
    add_waiting_flags(parser)
    options = parser.parse_args(arguments)
    require_model(options)
    require_report_folder(options)

    from salver.push.interruption import Interrupted, Interruption
    from salver.push.rollback import RollbackOrder
    from salver.push.rollback import rollback as run

    order = RollbackOrder(
        base_path=options.base_path,
        to=options.to,
        undo=options.undo,
        server=server_options(options),
    )
    try:
        with Interruption() as interruption:
            report = run(order, interruption, lambda line: None if options.json else print(line))
    except Interrupted as interrupted:
        print(f"{program}: interrupted by {interrupted}; all is as it was", file=sys.stderr)
        return SIGNAL + interrupted.number
    code = written(program, report.as_json(), options)
    if report.error:
        print(f"{program}: {report.error}", file=sys.stderr)
    return code or int(report.exit_code)
