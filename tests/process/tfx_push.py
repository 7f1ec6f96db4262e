"""Runs TFX's Pusher, as the component of `examples/tfx_pusher.py`, without a pipeline around it.

    python tfx_push.py MODEL BASE_PATH PUSHED BLESSED

with the interpreter of `tests/tfx_environment.py`. MODEL is a Trainer's output, PUSHED the folder
of Pusher's own output, BLESSED 1 or 0. Prints where it pushed to; an empty line if it did not.
"""

import sys
import types
from typing import Any

from google.protobuf import struct_pb2


def stand_in() -> None:
    """What specifications of other components are made of, and Pusher never uses."""
    analysis: Any = types.ModuleType("tensorflow_model_analysis")
    analysis.sdk = types.ModuleType("tensorflow_model_analysis.sdk")
    analysis.sdk.EvalConfig = struct_pb2.Struct
    sys.modules.update({module.__name__: module for module in (analysis, analysis.sdk)})


def main(model_uri: str, base_path: str, pushed_uri: str, blessed: str) -> None:
    from tfx.types import channel_utils, standard_artifacts

    from examples.tfx_pusher import pusher_to

    model, blessing = standard_artifacts.Model(), standard_artifacts.ModelBlessing()
    model.uri = model_uri
    blessing.uri = "evaluator"
    blessing.set_int_custom_property("blessed", int(blessed))
    pushed = standard_artifacts.PushedModel()
    pushed.uri = pushed_uri
    component = pusher_to(
        base_path, channel_utils.as_channel([model]), channel_utils.as_channel([blessing])
    )
    component.executor_spec.executor_class().Do(
        {"model": [model], "model_blessing": [blessing]},
        {"pushed_model": [pushed]},
        component.exec_properties,
    )
    is_pushed = pushed.get_int_custom_property("pushed")
    print(pushed.get_string_custom_property("pushed_destination") if is_pushed else "")


if __name__ == "__main__":
    stand_in()
    main(*sys.argv[1:])
