"""One module for each backend, with a `CASE`: see `tests/backends/contract.py`."""

from importlib import import_module
from pkgutil import iter_modules

from tests.backends.contract import BackendCase

CASES: dict[str, BackendCase] = {
    name: import_module(f"{__name__}.{name}").CASE
    for name in sorted(module.name for module in iter_modules(__path__))
}
"""By the name of the module, which is that of the served model, too."""
