"""Flags of what loads may take from what is served beside them, declared as in `flags.py`."""

from dataclasses import dataclass

from salver.config.declaration import Origin, flag, int32


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadFlags:
    """The part of the command line that bounds loads."""

    load_niceness: int = int32(
        10,
        "Loads of SavedModels and warm-ups get so much less of the cores while other versions are "
        "served: 0 for as much as requests, 19 for what they leave (see nice(2)).",
        origin=Origin.SALVER,
    )
    load_memory_check: bool = flag(
        True,
        "Refuse to load a version that is larger than the memory that is left, of the machine and "
        "of the container, by the size of its files. Without it, the kernel may end the server.",
        origin=Origin.SALVER,
    )
