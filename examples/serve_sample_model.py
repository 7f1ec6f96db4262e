"""Serve the sample model until Ctrl-C, and show a first prediction.

    python examples/serve_sample_model.py BASE

BASE is a folder that `export_sample_model.py` wrote to. Run that again while the server
is up: the new version takes over, and no request notices.
"""

import argparse
import contextlib
import socket
import subprocess
import sys
from pathlib import Path

FIRST_PREDICTION = Path(__file__).with_name("first_prediction.py")
MODEL_NAME = "rent"
HOST = "127.0.0.1"


def is_listening(port: int) -> bool:
    """Whether something takes connections at `port`."""
    with contextlib.suppress(OSError), socket.create_connection((HOST, port), timeout=1.0):
        return True
    return False


def main() -> int:
    parser = argparse.ArgumentParser(description="Serve the sample model.")
    parser.add_argument("base", type=Path, help="folder of the model, with its versions")
    parser.add_argument("--port", type=int, default=8500, help="port of gRPC")
    parser.add_argument("--rest_api_port", type=int, default=8501)
    options = parser.parse_args()
    ports = (options.port, options.rest_api_port)
    for port in ports:
        if is_listening(port):
            print(f"port {port} is taken: another server is running", file=sys.stderr)
            return 1

    flags = [f"--port={options.port}", f"--rest_api_port={options.rest_api_port}"]
    flags.append(f"--model_name={MODEL_NAME}")
    base_path = f"--model_base_path={options.base.resolve()}"
    command = [sys.executable, "-m", "salver", "serve", *flags, base_path]
    with subprocess.Popen(command) as server:
        try:
            while not all(map(is_listening, ports)):
                # A server that ended need not be waited for any longer.
                with contextlib.suppress(subprocess.TimeoutExpired):
                    return server.wait(timeout=0.05)
            subprocess.run([sys.executable, FIRST_PREDICTION, *flags], check=True)
            print("Serving; Ctrl-C ends it.", flush=True)
            return server.wait()
        except KeyboardInterrupt:
            # The terminal has sent it to the server as well, which now finishes its requests.
            return server.wait()
        finally:
            server.terminate()


if __name__ == "__main__":
    sys.exit(main())
