"""A program of its own: the descriptors of the installed TensorFlow packages.

Prints a serialized FileDescriptorSet with every message module of
tensorflow-serving-api, those of TensorFlow that ours stand for, and what they import.
"""

import importlib
import os
import pkgutil
import sys
import warnings

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
warnings.simplefilter("ignore")

import tensorflow_serving  # noqa: E402
from google.protobuf import descriptor_pb2  # noqa: E402

TENSORFLOW_MODULES = [
    "tensorflow.core.example.example_pb2",
    "tensorflow.core.protobuf.config_pb2",
    "tensorflow.core.protobuf.named_tensor_pb2",
    "tensorflow.core.protobuf.saved_model_pb2",
    "tensorflow.tsl.profiler.protobuf.profiler_options_pb2",
    "tensorflow.tsl.profiler.protobuf.xplane_pb2",
]


def main() -> None:
    names = [
        module.name
        for module in pkgutil.walk_packages(tensorflow_serving.__path__, "tensorflow_serving.")
        if module.name.endswith("_pb2")
    ]
    pending = [importlib.import_module(name).DESCRIPTOR for name in names + TENSORFLOW_MODULES]
    files = descriptor_pb2.FileDescriptorSet()
    seen = set()
    while pending:
        file = pending.pop()
        if file.name not in seen:
            seen.add(file.name)
            files.file.append(descriptor_pb2.FileDescriptorProto())
            file.CopyToProto(files.file[-1])
            pending += file.dependencies
    sys.stdout.buffer.write(files.SerializeToString())


if __name__ == "__main__":
    main()
