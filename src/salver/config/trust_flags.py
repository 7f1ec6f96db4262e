"""Flags that say what versions may do beside computing, declared as in `flags.py`."""

from dataclasses import dataclass

from salver.config.backend_flags import BackendFlags
from salver.config.declaration import Origin, flag


@dataclass(frozen=True, slots=True, kw_only=True)
class TrustFlags(BackendFlags):
    """The part of the command line that decides which models are refused."""

    refuse_unsafe_models: bool = flag(
        False,
        "Scan the files of each version before it is loaded, as salver scan does, and refuse it "
        "(FAILED_PRECONDITION) if it could read or write files, run code or reach out.",
        origin=Origin.SALVER,
    )
    unsafe_model_exceptions: str = flag(
        "",
        "Comma-separated findings that --refuse_unsafe_models lets through: RULE or RULE:SUBJECT, "
        "as --allow of salver scan.",
        origin=Origin.SALVER,
    )
