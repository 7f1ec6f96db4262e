"""Run as a program with the path of an HDF5 file: tells what Keras would read of it, as JSON.

`configs` are the configurations of models and of training; `outside` are links and data that lie
in other files; `problem` says why there is neither.
"""

import json
import sys
from typing import Any


def main() -> None:
    try:
        import h5py
    except ImportError:
        answer: dict[str, Any] = {
            "is_missing": True,
            "problem": "h5py is not installed, which reads it: pip install 'salver[keras]'",
        }
    else:
        try:
            answer = _read(h5py, sys.argv[1])
        except (OSError, RuntimeError, ValueError, KeyError, TypeError) as error:
            answer = {"problem": f"it is no whole HDF5 file: {error}"}
    print(json.dumps(answer))


def _read(h5py: Any, path: str) -> dict[str, Any]:
    outside: list[tuple[str, str]] = []
    with h5py.File(path, "r") as file:
        configs = [
            _text(file.attrs[name])
            for name in ("model_config", "training_config")
            if name in file.attrs
        ]
        waiting = [(file, "")]
        seen = set()
        while waiting:
            group, place = waiting.pop()
            if group.id in seen:
                continue
            seen.add(group.id)
            for name in group:
                link = group.get(name, getlink=True)
                if isinstance(link, h5py.ExternalLink):
                    outside.append((f"{place}/{name}", link.filename))
                    continue
                if isinstance(link, h5py.SoftLink):
                    continue
                member = group[name]
                if isinstance(member, h5py.Group):
                    waiting.append((member, f"{place}/{name}"))
                elif isinstance(member, h5py.Dataset):
                    outside += [(f"{place}/{name}", source) for source in _sources(member)]
    return {"configs": configs, "outside": outside}


def _sources(dataset: Any) -> list[str]:
    found = [str(each[0]) for each in dataset.external or ()]
    if dataset.is_virtual:
        names = (source.file_name for source in dataset.virtual_sources())
        found += [name for name in names if name != "."]
    return found


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)


if __name__ == "__main__":
    main()
