"""Flags that concern one framework each, declared as in `flags.py`."""

from dataclasses import dataclass

from salver.config.declaration import Origin, flag, int32
from salver.config.load_flags import LoadFlags


@dataclass(frozen=True, slots=True, kw_only=True)
class BackendFlags(LoadFlags):
    """The part of the command line that only a backend reads."""

    jvm_max_heap_mb: int = int32(
        512,
        "The heap of the Java virtual machine that serves PMML and MOJO, in MiB at most, for all "
        "such models together. It is started by the first of them.",
        origin=Origin.SALVER,
    )
    h2o_genmodel_jar: str = flag(
        "",
        "The h2o-genmodel.jar that reads MOJO files of H2O. Empty: the jar of the Python package "
        "h2o.",
        origin=Origin.SALVER,
    )
    skops_trusted_types: str = flag(
        "",
        "Comma-separated types, such as my_package.MyTransformer, that model.skops may hold beside "
        "those of scikit-learn. Their code runs when a model is loaded or used.",
        origin=Origin.SALVER,
    )
