"""What pyproject.toml cannot say: the Cython extensions and the compiled protobuf descriptors."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy
from Cython.Build import cythonize
from setuptools import setup
from setuptools.command.build_py import build_py

PROTOS = Path("src/salver/codecs/protos")
DESCRIPTORS = Path("src/salver/codecs/messages.binpb")
AS_THEY_ARE = ["src/salver/transport/http1.py", "src/salver/transport/rest.py"]
"""Python on the way of every REST request, which costs an eighth less when it is compiled.

It works without that, too. Of the other modules on the way none showed a gain beyond 3 %.
"""


def require_compiler_and_nghttp2() -> None:
    """Say what is missing before the compiler does."""
    compiler = shutil.which("c++") or shutil.which("g++")
    if compiler is None:
        sys.exit("salver needs a C++ compiler to build: on Debian or Ubuntu, apt-get install g++")
    probe = [compiler, "-E", "-x", "c++", "-", "-o", "/dev/null"]
    found = subprocess.run(probe, input=b"#include <nghttp2/nghttp2.h>\n", capture_output=True)
    if found.returncode:
        sys.exit(
            "salver needs the headers of libnghttp2 to build: "
            "on Debian or Ubuntu, apt-get install libnghttp2-dev"
        )


def compile_messages() -> None:
    """Our .proto files become one descriptor set, which `salver.codecs.messages` loads."""
    files = sorted(str(path) for path in PROTOS.rglob("*.proto"))
    command = [sys.executable, "-m", "grpc_tools.protoc", f"--proto_path={PROTOS}"]
    # With google/protobuf/*.proto, so that the set stands alone in its private pool.
    command += ["--include_imports", f"--descriptor_set_out={DESCRIPTORS}"]
    subprocess.run([*command, *files], check=True)


class BuildWithMessages(build_py):
    """Compiles the messages first, in every kind of build."""

    def run(self) -> None:
        compile_messages()
        super().run()


require_compiler_and_nghttp2()
compile_messages()
EXTENSIONS = cythonize("src/salver/**/*.pyx", include_path=["src"], language_level=3) + cythonize(
    AS_THEY_ARE,
    language_level=3,
    # Types of Python are no promises that C could rely on.
    compiler_directives={"annotation_typing": False},
)
for extension in EXTENSIONS:
    extension.include_dirs.append(numpy.get_include())
setup(
    ext_modules=EXTENSIONS,
    cmdclass={"build_py": BuildWithMessages},
    options={"build_ext": {"parallel": os.cpu_count()}},
)
