"""What a load needs besides the model: a framework that is installed, an operator who agreed."""

import threading
from importlib import import_module
from importlib.util import find_spec
from types import ModuleType

from salver.core.backend import BackendOptions
from salver.errors import FailedPrecondition, PermissionDenied, Unimplemented

_ONE_IMPORT = threading.RLock()
"""Several versions load side by side. Frameworks share packages whose modules import each other,
and where two threads meet in such a circle Python has one go on with a module that is not complete:
pandas, for one, then cannot be imported."""


def imported(module: str, options: BackendOptions, extra: str) -> ModuleType:
    """The framework's module. From a load thread.

    Raises:
        FailedPrecondition: it is not installed, or its import fails.
    """
    try:
        with _ONE_IMPORT:
            return import_module(module)
    except ModuleNotFoundError as error:
        if error.name != module.partition(".")[0]:
            raise FailedPrecondition(
                f"Model {options.model_name}: {module} needs {error.name}, which is not installed"
            ) from error
        raise FailedPrecondition(
            f"Model {options.model_name} needs {module}: pip install 'salver[{extra}]'"
        ) from error
    except Exception as error:
        raise FailedPrecondition(
            f"Model {options.model_name}: {module} cannot be imported: "
            f"{type(error).__name__}: {error}"
        ) from error


def require_not_newer(major: int, framework: ModuleType, where: str) -> None:
    """See that a file is of no format from after the framework, which might misread it silently.

    Args:
        major: the major version of the framework that such files come from; 0 if not known.
        framework: as it is installed.
        where: begins the message.

    Raises:
        Unimplemented: it is.
    """
    installed = str(framework.__version__)
    if major > int(installed.partition(".")[0]):
        raise Unimplemented(
            f"{where} was written by {framework.__name__} {major}, which is newer than what is "
            f"installed, {installed}"
        )


def require_installed(module: str, options: BackendOptions, extra: str) -> None:
    """The same for a framework that another process will import.

    Raises:
        FailedPrecondition: it is not installed.
    """
    if find_spec(module) is None:
        raise FailedPrecondition(
            f"Model {options.model_name} needs {module}: pip install 'salver[{extra}]'"
        )


def require_pickle_allowed(file: str, options: BackendOptions) -> None:
    """Call before anything is unpickled, whatever loads it.

    Raises:
        PermissionDenied: the operator has not said --allow_pickle.
    """
    if not options.allow_pickle:
        raise PermissionDenied(
            f"Model {options.model_name}: {file} is a pickle, and to load it is to run code that "
            "lies in it; --allow_pickle allows it for models that you trust"
        )


def require_code_allowed(file: str, options: BackendOptions) -> None:
    """Call before Python files of a version are run.

    Raises:
        PermissionDenied: the operator has not said --allow_python_code.
    """
    if not options.allow_python_code:
        raise PermissionDenied(
            f"Model {options.model_name}: {file} is code that came with the version; "
            "--allow_python_code allows it to run for models that you trust"
        )
