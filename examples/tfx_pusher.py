"""The last step of a TFX pipeline: a Pusher whose destination is the base path of a Salver server.

In the module that defines the pipeline:

    pusher = pusher_to("/models/taxi", trainer.outputs["model"], evaluator.outputs["blessing"])

and with the server that finds what it pushes, and goes on with the version before until the new one
is loaded:

    salver serve --model_name=taxi --model_base_path=/models/taxi --rest_api_port=8501
"""

from tfx.components.pusher.component import Pusher
from tfx.proto import pusher_pb2
from tfx.types import BaseChannel


def pusher_to(base_path: str, model: BaseChannel, blessing: BaseChannel | None = None) -> Pusher:
    """A component that publishes models that were blessed.

    Args:
        base_path: of the model in the server's config; a version is `base_path/<unix second>`.
        model: the Trainer's output.
        blessing: the Evaluator's output; without it every model is pushed.
    """
    filesystem = pusher_pb2.PushDestination.Filesystem(base_directory=base_path)
    return Pusher(
        model=model,
        model_blessing=blessing,
        push_destination=pusher_pb2.PushDestination(filesystem=filesystem),
    )
