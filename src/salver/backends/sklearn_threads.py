"""One thread for each call into scikit-learn: several callers make better use of several cores.

Estimators that were made with `n_jobs=-1`, and loops that OpenMP spreads over all cores,
would compete with each other. Both settings belong to the calling thread.
"""

import threading
from typing import Any

from salver.backends.prerequisites import imported
from salver.core.backend import BackendOptions


class CallingThreads:
    """Sets up each thread when it calls for the first time."""

    def __init__(self, options: BackendOptions) -> None:
        """Import what is needed. From a load thread.

        Raises:
            FailedPrecondition: something is not installed.
        """
        self._threads = options.intra_op_threads or 1
        self._joblib: Any = imported("joblib", options, "sklearn")
        pools: Any = imported("threadpoolctl", options, "sklearn")
        self._controller = pools.ThreadpoolController().select(user_api="openmp")
        self._ready = threading.local()

    def set_up(self) -> None:
        """Call before each call into scikit-learn."""
        if not getattr(self._ready, "is_set", False):
            self._ready.is_set = True
            backend = "sequential" if self._threads == 1 else "threading"
            # Both stay in force for this thread until somebody calls what they return.
            self._ready.kept = (
                self._joblib.parallel_config(backend, n_jobs=self._threads),
                self._controller.limit(limits=self._threads),
            )
