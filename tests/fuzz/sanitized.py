"""Fuzz the extensions as built with gcc's sanitizers of addresses and undefined behaviour.

    python -m tests.fuzz.sanitized [arguments of tests.fuzz]

They are built from a copy of the sources under `.cache`. CPython's own allocator would hide most
errors, so each object gets a block of malloc.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
BUILD = ROOT / ".cache" / "sanitized"
FLAGS = "-fsanitize=address,undefined -fno-sanitize-recover=undefined -fno-omit-frame-pointer -g"
LIBRARIES = ("libasan.so", "libubsan.so", "libstdc++.so")
# Python itself leaves much behind, and what has been freed is kept a while to catch late uses.
OPTIONS = "detect_leaks=0:allocator_may_return_null=1:quarantine_size_mb=16"
BORDERS = "json,numbers,tensor,predict,warmup,http1,http2,grpc"


def build() -> None:
    """Bring the copy up to date: files that have changed, and what is made of them."""
    for path in [
        *ROOT.glob("src/salver/**/*"),
        *map(ROOT.joinpath, ("setup.py", "pyproject.toml")),
    ]:
        is_ours = path.suffix in (".py", ".pyx", ".pxd", ".pyi", ".proto", ".toml")
        target = BUILD / path.relative_to(ROOT)
        if is_ours and (not target.exists() or target.read_bytes() != path.read_bytes()):
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, target)
    for name in ("README.md", "LICENSE"):
        shutil.copyfile(ROOT / name, BUILD / name)
    command = [sys.executable, "setup.py", "--quiet", "build_ext", "--inplace"]
    flags = dict.fromkeys(("CFLAGS", "CXXFLAGS", "LDFLAGS"), FLAGS)
    subprocess.run(command, cwd=BUILD, env=os.environ | flags, check=True)


def library(name: str) -> str:
    command = ["gcc", f"-print-file-name={name}"]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def main() -> int:
    build()
    arguments = sys.argv[1:] or ["--minutes", "4"]
    environment = os.environ | {
        "LD_PRELOAD": " ".join(map(library, LIBRARIES)),
        "ASAN_OPTIONS": OPTIONS,
        "UBSAN_OPTIONS": "print_stacktrace=1",
        "PYTHONMALLOC": "malloc",
        "PYTHONPATH": f"{BUILD / 'src'}:{ROOT}",
    }
    command = [sys.executable, "-m", "tests.fuzz", "--borders", BORDERS]
    return subprocess.run([*command, *arguments], env=environment, cwd=ROOT).returncode


if __name__ == "__main__":
    sys.exit(main())
