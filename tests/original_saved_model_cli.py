"""TensorFlow's own `saved_model_cli show`, for comparison.

Run as a program with lists of arguments as JSON on stdin: prints what each prints, as JSON. Each
is run in a process of its own, as on a command line, but TensorFlow is imported once for all.
"""

import json
import subprocess
import sys
from collections.abc import Sequence


def original_show(questions: Sequence[Sequence[str]]) -> list[str]:
    """What `saved_model_cli show` prints for each list of arguments."""
    command = [sys.executable, __file__]
    done = subprocess.run(command, input=json.dumps(questions), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    answers: list[str] = json.loads(done.stdout.splitlines()[-1])
    return answers


def main() -> None:
    import os
    import tempfile
    import traceback
    from contextlib import redirect_stdout
    from io import StringIO
    from pathlib import Path

    from absl import flags
    from tensorflow.python.tools import saved_model_cli

    answers = []
    for arguments in json.load(sys.stdin):
        with tempfile.NamedTemporaryFile() as file:
            child = os.fork()
            if not child:
                try:
                    flags.FLAGS(["saved_model_cli", *arguments])
                    output = StringIO()
                    with redirect_stdout(output):
                        saved_model_cli.show()
                    Path(file.name).write_text(output.getvalue())
                    os._exit(0)
                except BaseException:  # noqa: BLE001 - it ends the process
                    traceback.print_exc()
                    os._exit(1)
            _, status = os.waitpid(child, 0)
            assert status == 0, arguments
            answers.append(Path(file.name).read_text())
    print(json.dumps(answers))


if __name__ == "__main__":
    main()
