"""`salver show` beside TensorFlow's own program, and for the models of every framework."""

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import fsspec
import pytest

from salver.cli.main import main
from salver.codecs.messages import message_class
from salver.codecs.tf_record import record
from salver.inspection.numbers_held import parameters_of
from salver.inspection.screen import size_text
from tests.original_saved_model_cli import original_show
from tests.running import RunningServer
from tests.saved_models import MAKERS, version_path

SerializedPredictionLog = message_class("salver.SerializedPredictionLog")
PUBLISHED = Path(__file__).resolve().parents[3] / "shared" / "models"
Shown = Callable[..., tuple[int, str, str]]


@pytest.fixture
def shown(capfd: pytest.CaptureFixture[str]) -> Shown:
    """Runs `salver show`: its exit code, and what it printed."""

    def shown(*arguments: str) -> tuple[int, str, str]:
        capfd.readouterr()
        code = main(["show", *arguments])
        output, errors = capfd.readouterr()
        return code, output, errors

    return shown


def _folders(saved_models: Path) -> list[str]:
    made = [version_path(saved_models, name) for name in MAKERS if name != "heavy"]
    published = [str(path.parent) for path in sorted(PUBLISHED.glob("*/*/saved_model.pb"))]
    return made + published


def _questions(folder: str) -> list[list[str]]:
    there = [f"--dir={folder}"]
    _, text = _signatures_of(folder)
    named = [f"--signature_def={name}" for name in re.findall('key: "(.*)"', text)]
    serve = [*there, "--tag_set=serve"]
    return [
        there,
        [*there, "-all"],
        serve,
        [*serve, "--list_ops"],
        [*there, "--list_ops"],
        *([*serve, name] for name in named),
        [*serve, "--list_ops", *named[:1]],
    ]


def _signatures_of(folder: str) -> tuple[int, str]:
    from contextlib import redirect_stdout
    from io import StringIO

    output = StringIO()
    with redirect_stdout(output):
        code = main(["show", f"--dir={folder}", "--tag_set=serve"])
    return code, output.getvalue()


def _sorted_sets(text: str) -> list[str]:
    """The lines of the original, with what stands there in the order of a hash table sorted."""

    def in_order(match: re.Match[str]) -> str:
        return "{" + ", ".join(sorted(match[1].split(", "))) + "}"

    return [re.sub(r"(?<=ops: )\{(.*)\}$", in_order, line) for line in text.splitlines()]


def test_the_original_prints_nothing_that_is_not_printed_here_byte_for_byte(
    saved_model_folder: Path, shown: Shown
) -> None:
    questions = [each for folder in _folders(saved_model_folder) for each in _questions(folder)]
    compared = 0
    for question, original in zip(questions, original_show(questions), strict=True):
        code, ours, errors = shown(*question)
        assert (code, errors) == (0, "")
        expected = _sorted_sets(original)
        if "N/A (could not be listed due to the existence of custom ops" in original:
            continue
        found = ours.splitlines()[: len(expected)]
        assert found == expected, question
        compared += len(expected)
        if "--tag_set=serve" in question:
            assert ours.splitlines() == expected
    assert compared > 2000


def test_a_saved_model_is_shown_without_tensorflow(saved_model_folder: Path) -> None:
    program = (
        "import sys; from salver.cli.main import main; code = main(['show', '--all', sys.argv[1]]);"
        "assert 'tensorflow' not in sys.modules;"
        "assert 'libtensorflow' not in open('/proc/self/maps').read(); sys.exit(code)"
    )
    command = [sys.executable, "-c", program, version_path(saved_model_folder, "keras")]
    done = subprocess.run(command, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert "Concrete Functions:" in done.stdout


def test_the_screen_tells_what_the_original_does_not(
    saved_model_folder: Path, tmp_path: Path, shown: Shown
) -> None:
    version = tmp_path / "words" / "3"
    shutil.copytree(version_path(saved_model_folder, "lookup"), version)
    (version / "assets.extra").mkdir()
    logs = [SerializedPredictionLog(predict_log={"request": b"x"}) for _ in range(2)]
    logs.append(SerializedPredictionLog(classify_log={"request": b"x"}))
    warm_up = version / "assets.extra" / "tf_serving_warmup_requests"
    warm_up.write_bytes(b"".join(record(log.SerializeToString()) for log in logs))

    code, output, errors = shown(str(version))

    size = sum(path.stat().st_size for path in version.rglob("*") if path.is_file())
    assert (code, errors) == (0, "")
    lines = output.splitlines()
    assert lines[0] == f"{version} (version 3)"
    assert f"  size        {size_text(size)} in 6 files" in lines
    assert "  assets      words.txt (13 bytes)" in lines
    assert "  warm-up     3 requests (1 classify, 2 predict)" in lines
    assert "  input   word   DT_STRING  (-1)" in lines
    assert any(re.fullmatch(r"  written by  TensorFlow 2\.\d+\.\d+", line) for line in lines)

    warm_up.write_bytes(warm_up.read_bytes()[:-1])
    assert "then damaged: truncated record" in shown(str(version))[1]
    (version / "assets" / "words.txt").unlink()
    assert "  assets      words.txt (missing)" in shown(str(version))[1]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("half_plus_two_1", {"count": 2, "trainable": 2, "size": 8}),
        ("keras", {"count": 3 * 10 + 4 * 109, "trainable": 3 * 10 + 4 * 109, "size": 4 * 466}),
        ("traces", {"count": 2, "trainable": 2, "size": 8}),
        ("half_plus_two_2", {"count": 2, "trainable": 2, "size": 8}),
        ("echo", {"count": 0, "trainable": None, "size": 0}),
    ],
)
def test_parameters_are_counted(
    saved_model_folder: Path, shown: Shown, name: str, expected: dict[str, int | None]
) -> None:
    _, output, _ = shown(version_path(saved_model_folder, name), "--json")
    assert json.loads(output)["versions"][0]["parameters"] == expected


def test_operations_that_need_care_are_told(tmp_path: Path, shown: Shown) -> None:
    saved_model = message_class("tensorflow.SavedModel")()
    graph = saved_model.meta_graphs.add()
    graph.meta_info_def.tags.append("serve")
    graph.graph_def.node.add(name="peek", op="ReadFile")
    (tmp_path / "saved_model.pb").write_bytes(saved_model.SerializeToString())
    (line,) = [each for each in shown(str(tmp_path))[1].splitlines() if "needs care" in each]
    assert "ReadFile" in line
    (found,) = json.loads(shown(str(tmp_path), "--json")[1])["versions"][0]["needs_care"]
    assert "ReadFile" in found["what"]


def test_what_an_optimizer_keeps_is_no_parameter() -> None:
    graph = message_class("tensorflow.MetaGraphDef")()
    nodes = graph.object_graph_def.nodes
    for _ in range(4):
        nodes.add()
    for parent, children in ((0, (1, 2)), (2, (3,))):
        for child in children:
            nodes[parent].children.add(node_id=child, local_name=f"child_{child}")
    nodes[2].user_object.identifier = "optimizer"
    for node in (nodes[1], nodes[3]):
        node.variable.shape.dim.add(size=5)
        node.variable.dtype = 1
    assert parameters_of(graph).count == 5


def test_every_version_of_a_base_path_is_shown_on_storage_too(
    saved_model_folder: Path, tmp_path: Path, shown: Shown
) -> None:
    files = fsspec.filesystem("memory")
    for number in (1, 2):
        source = version_path(saved_model_folder, "half_plus_two_2")
        shutil.copytree(source, tmp_path / "m" / str(number))
        files.put(source, f"/shown/m/{number}", recursive=True)
    try:
        code, local, _ = shown(f"{tmp_path}/m")
        assert code == 0
        assert [line for line in local.splitlines() if line.startswith("Version")] == [
            "Version 1:",
            "Version 2:",
        ]
        code, remote, _ = shown("memory://shown/m")
        assert (code, remote) == (0, local.replace(f"{tmp_path}/m", "memory://shown/m"))
        one = shown(f"{tmp_path}/m", "--version=2")[1]
        assert one == local.partition("Version 2:\n")[2]
        assert shown(f"{tmp_path}/m", "--version=3")[::2] == (
            2,
            f"salver show: {tmp_path}/m has no version 3; there are: 1, 2\n",
        )
    finally:
        files.rm("/shown", recursive=True)


def test_a_server_is_asked(saved_model_folder: Path, shown: Shown) -> None:
    base = saved_model_folder / "several"
    path = version_path(saved_model_folder, "several")
    with RunningServer(f"--model_base_path={base}", "--model_name=several") as server:
        for url in (server.url, server.grpc_address):
            asked = [f"--url={url}", "--model=several"]
            served = json.loads(shown(*asked, "--json")[1])["versions"][0]
            local = json.loads(shown(path, "--json")[1])["versions"][0]
            del local["signatures"]["__saved_model_init_op"]
            served["signatures"].pop("__saved_model_init_op", None)
            assert served["signatures"] == local["signatures"]
            assert (served["version"], served["states"]) == (1, {"1": "AVAILABLE"})
            assert "  versions    1 AVAILABLE" in shown(*asked)[1].splitlines()
            table = shown(*asked, "--signature_def=serving_default")[1]
            ours = shown(f"--dir={path}", "--tag_set=serve", "--signature_def=serving_default")[1]
            assert table.replace("given model", "given SavedModel") == ours
            code, _, errors = shown(f"--url={url}", "--model=severe")
            assert code == 2
            assert "severe" in errors


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ([], "name one model: a folder, or a server's with --url and --model"),
        (["{path}", "--dir={path}"], "a path and --dir are the same"),
        (
            ["{path}", "--tag_set=serving"],
            "no graph with the tag-set 'serving'; there",
        ),
        (
            ["{path}", "--signature_def=serving"],
            "no signature 'serving'; did you mean",
        ),
        (["{path}/no"], "there is no such folder"),
        (["{path}", "--model=m"], "they need|name it with --url"),
        (["--url=localhost:1"], "--url and --model go together"),
        (["--url=localhost:1", "--model=m", "{path}"], "name one model: a folder, or"),
    ],
)
def test_what_is_wrong_is_said_in_a_line(
    saved_model_folder: Path, shown: Shown, arguments: list[str], error: str
) -> None:
    path = version_path(saved_model_folder, "several")
    code, output, errors = shown(*(each.format(path=path) for each in arguments))
    assert (code, output) == (2, "")
    assert re.search(error.replace("(", r"\("), errors), errors
    assert len(errors.splitlines()) == 1


@pytest.mark.parametrize("content", [b"\xff\xff", b"\x12\x05abc"])
def test_a_damaged_file_is_said_in_a_line(tmp_path: Path, shown: Shown, content: bytes) -> None:
    (tmp_path / "saved_model.pb").write_bytes(content)
    code, output, errors = shown(str(tmp_path))
    assert (code, output) == (2, "")
    assert errors.startswith(f"salver show: {tmp_path}/saved_model.pb is no SavedModel")
    assert len(errors.splitlines()) == 1


def test_what_cannot_be_loaded_is_shown_as_far_as_files_tell(tmp_path: Path, shown: Shown) -> None:
    (tmp_path / "model.py").write_text("raise SystemExit\n")
    code, output, _ = shown(str(tmp_path))
    assert code == 1
    assert "  backend     python\n" in output
    assert "--allow_python_code" in output
