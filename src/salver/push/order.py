"""What a user wants of a push."""

from dataclasses import dataclass, field

from salver.inspection.opening import OpenOptions
from salver.push.comparison import Tolerance
from salver.push.served_model import ServerOptions
from salver.scanning.report import Allowance


@dataclass(frozen=True, slots=True, kw_only=True)
class PushOrder:
    """As the flags of `salver push`."""

    model: str
    """A version folder, a base path, the output of TFX's Trainer; a path or a URI."""
    base_path: str
    """Where versions are published; a path or a URI."""
    server: ServerOptions | None = None
    """Who serves the base path and is asked whether the version works."""
    blessing: str = ""
    """The output folder of TFX's Evaluator."""
    infra_blessing: str = ""
    """The output folder of TFX's InfraValidator."""
    allowances: tuple[Allowance, ...] = ()
    """Findings of the scan that do not count."""
    allow_unsafe: bool = False
    """Whether none counts."""
    allow_incompatible_signatures: bool = False
    load: bool = True
    """Whether the model is loaded, and all that follows from it is checked."""
    requests: str = ""
    """A file of requests that the model is tried with, instead of its warm-up requests."""
    expected: str = ""
    """A file with their answers."""
    signature: str = ""
    """Of requests that name none."""
    compare: bool = False
    """Whether answers are to be those of the version that is there."""
    tolerance: Tolerance = field(default_factory=Tolerance)
    max_latency_ratio: float | None = None
    """So many times what the version takes that is there, at the most."""
    latency_rounds: int = 50
    check_only: bool = False
    """Nothing is published."""
    run_limit_s: float = 60.0
    """The longest that one request may take, in seconds."""
    open_options: OpenOptions = field(default_factory=OpenOptions)
