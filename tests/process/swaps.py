"""What operators do to a server that is under load: one scene after the other.

    python -m tests.process.swaps --rate 5000

shows for each how many requests failed, and how slow the slowest of a hundred were before the
change and during it.
"""

import argparse
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from google.protobuf import text_format
from tensorflow_serving.apis import model_management_pb2

from tests import served_models
from tests.grpc_client import TIMEOUT_S, GrpcClient
from tests.process.asking import LOADED, UNLOADED, states
from tests.process.steady_load import SteadyLoad, now
from tests.running import RunningServer, pass_time, wait_until, write_config
from tests.served_models import VersionedModel

NAME = "default"
AFTER_S, GONE_S = 0.5, 0.3


class Stage:
    """A server with one model under load, and what a scene may do to it."""

    def __init__(self, server: RunningServer, model: VersionedModel, folder: Path) -> None:
        self.server = server
        self.model = model
        self.folder = folder
        self.config = folder / "models.txt"

    def wait_for(self, event: str, version: int, name: str = NAME) -> None:
        self.server.wait_for_line(f"{event} {{name: {name} version: {version}}}")

    def other(self) -> VersionedModel:
        """A further base path, with version 10."""
        other = VersionedModel(self.model.template, self.folder / "other")
        other.add(10)
        return other

    def reload(self, *bodies: str) -> None:
        """Have a whole config applied by RPC."""
        request = model_management_pb2.ReloadConfigRequest()
        config = " ".join(f"config {{ {body} }}" for body in bodies)
        text_format.Parse(f"model_config_list {{ {config} }}", request.config)
        with GrpcClient(self.server.grpc_address) as client:
            response = client.model.HandleReloadConfigRequest(request, timeout=TIMEOUT_S)
        assert response.status.error_code == 0, response


def entry(model: VersionedModel, more: str = "", name: str = NAME) -> str:
    return f'name: "{name}" base_path: "{model.base_path}" model_platform: "tensorflow" {more}'


def labelled(version: int) -> str:
    labels = f'version_labels {{ key: "stable" value: {version} }}'
    return f"model_version_policy {{ all {{}} }} {labels}"


def new_version(stage: Stage) -> None:
    stage.model.add(3)
    stage.wait_for(UNLOADED, 2)


def rollback(stage: Stage) -> None:
    stage.model.remove(2)
    stage.wait_for(UNLOADED, 2)


def gone_and_back(stage: Stage) -> None:
    stage.model.remove(1)
    stage.model.remove(2)
    stage.wait_for(UNLOADED, 2)
    pass_time(GONE_S)
    stage.model.add(2)
    wait_until(lambda: states(stage.server).get(2) == "AVAILABLE", "version 2 is back")


def label_moved(stage: Stage) -> None:
    stage.reload(entry(stage.model, labelled(2)))


def reloaded_by_rpc(stage: Stage) -> None:
    other = stage.other()
    stage.reload(entry(stage.model), entry(other, name="added"))
    stage.reload(entry(other), entry(other, name="added"))
    stage.wait_for(UNLOADED, 2)


def reloaded_by_file(stage: Stage) -> None:
    other = stage.other()
    write_config(stage.config, [entry(stage.model), entry(other, name="added")])
    stage.wait_for(LOADED, 10, "added")
    write_config(stage.config, [entry(other), entry(other, name="added")])
    stage.wait_for(UNLOADED, 2)


def broken_version(stage: Stage) -> None:
    stage.model.break_(3)
    stage.server.wait_for_line("Servable {name: default version: 3} cannot be loaded")


def base_path_lost(stage: Stage) -> None:
    away = stage.folder / "away"
    stage.model.base_path.rename(away)
    stage.server.wait_for_line("Could not find base path")
    away.rename(stage.model.base_path)
    stage.model.add(3)
    stage.wait_for(UNLOADED, 2)


@dataclass(frozen=True, slots=True)
class Scene:
    """A change, and what is answered before and after it."""

    change: Callable[[Stage], None]
    answers: frozenset[float]
    label: str | None = None
    """Under which the model is asked for."""
    may_miss: bool = False
    """Whether there is a time without any version."""


SCENES = {
    scene.change.__name__: scene
    for scene in (
        Scene(new_version, frozenset({2.0, 3.0})),
        Scene(rollback, frozenset({2.0, 1.0})),
        Scene(gone_and_back, frozenset({2.0}), may_miss=True),
        Scene(label_moved, frozenset({1.0, 2.0}), label="stable"),
        Scene(reloaded_by_rpc, frozenset({2.0, 10.0})),
        Scene(reloaded_by_file, frozenset({2.0, 10.0})),
        Scene(broken_version, frozenset({2.0})),
        Scene(base_path_lost, frozenset({2.0, 3.0})),
    )
}


@dataclass(frozen=True, slots=True)
class Seen:
    """What the callers have met with."""

    load: SteadyLoad
    before_at: float
    began_at: float
    changed_at: float
    ended_at: float

    @property
    def p99_before_ms(self) -> float:
        return self.load.p99_ms(self.before_at, self.began_at)

    @property
    def p99_during_ms(self) -> float:
        return self.load.p99_ms(self.began_at, self.ended_at)


def play(scene: Scene, rate: float, template: Path, folder: Path, before_s: float = 2.0) -> Seen:
    """Change the server under so many requests a second, `before_s` after they have begun."""
    model = VersionedModel(template, folder / "model")
    model.add(1)
    model.add(2)
    more = labelled(1) if scene.label else ""
    flags = [
        write_config(folder / "models.txt", [entry(model, more)]),
        "--model_config_file_poll_wait_seconds=1",
        "--allow_version_labels_for_unavailable_models",
        "--max_num_load_retries=2",
        "--load_retry_interval_micros=100000",
    ]
    with RunningServer(*flags) as server, SteadyLoad(server, rate, label=scene.label) as load:
        # The callers have to start, too.
        pass_time(AFTER_S)
        before_at = now()
        pass_time(before_s)
        began_at = now()
        scene.change(Stage(server, model, folder))
        changed_at = now()
        pass_time(AFTER_S)
        ended_at = now()
        load.stop()
    return Seen(load, before_at, began_at, changed_at, ended_at)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.process.swaps", description=__doc__)
    parser.add_argument("--rate", type=float, default=50.0, help="requests per second")
    parser.add_argument("--scenes", default=",".join(SCENES))
    options = parser.parse_args()
    failed = 0
    with TemporaryDirectory() as folder:
        template = Path(folder, "constant", "1")
        served_models.export("constant", template)
        for name in options.scenes.split(","):
            seen = play(SCENES[name], options.rate, template, Path(folder, name))
            before, during = seen.p99_before_ms, seen.p99_during_ms
            total = sum(seen.load.outcomes.values())
            told = dict(seen.load.failures) or "none failed"
            print(
                f"{name:17} {total:7} requests, {told}; p99 {before:.1f} ms before, "
                f"{during:.1f} ms during it, {during / before:.1f} times",
                flush=True,
            )
            failed += sum(seen.load.failures.values()) if not SCENES[name].may_miss else 0
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
