"""Pickles of every protocol and wrapping: what they would import is told, and nothing is."""

import bz2
import gzip
import io
import lzma
import os
import pickle
import zipfile
import zlib
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from salver.scanning.pickle_names import is_harmless, verdict
from salver.scanning.report import Report
from salver.scanning.scan import scan


class Hostile:
    """Says that it was loaded by a file that it makes."""

    def __init__(self, mark: Path) -> None:
        self._mark = mark

    def __reduce__(self) -> tuple[Callable[..., object], tuple[object, ...]]:
        return os.mkdir, (str(self._mark),)


@pytest.fixture
def mark(tmp_path: Path) -> Path:
    return tmp_path / "loaded"


def scanned(tmp_path: Path, name: str, content: bytes) -> Report:
    (tmp_path / name).write_bytes(content)
    return scan(tmp_path / name)


def subjects(report: Report) -> list[tuple[str, str]]:
    return [(each.rule, each.subject) for each in report.findings]


KNOWN_TO_SCANNERS = """
os.system posix.system nt.system subprocess.Popen builtins.eval builtins.exec builtins.getattr
builtins.open builtins.__import__ sys.modules runpy.run_path importlib.import_module
pickle.loads dill._dill._load_type cloudpickle.cloudpickle._make_function marshal.loads
operator.attrgetter operator.methodcaller functools.reduce types.FunctionType ctypes.CDLL
bdb.Bdb pdb.run cProfile.run timeit.timeit trace.Trace doctest.debug_script pydoc.locate
idlelib.run.Executive code.interact codeop.compile_command asyncio.run
numpy.f2py.crackfortran.getlincoef numpy.testing._private.utils.runstring numpy.load
torch.load torch.hub.load torch.storage._load_from_bytes torch._dynamo.guards.GuardBuilder
torch.utils.bottleneck.__main__.run_cprofile torch.utils.collect_env.run
torch.fx.graph_module.reduce_graph_module torch.jit.unsupported_tensor_ops.execWrapper
pandas.read_pickle joblib.load lib2to3.pgen2.grammar.Grammar ensurepip._run_pip pip.main
venv.create multiprocessing.util.spawnv_passfds uuid._popen
"""
MKDIR = [("runs-code", "posix.mkdir")]


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize("name", ["model.pkl", "model", "weights.bin", "words.txt"])
def test_whatever_it_is_called_it_is_found_and_not_loaded(
    tmp_path: Path, mark: Path, protocol: int, name: str
) -> None:
    report = scanned(tmp_path, name, pickle.dumps([1, Hostile(mark)], protocol))
    assert subjects(report) == MKDIR
    assert not mark.exists()


@pytest.mark.parametrize(
    "pack",
    [gzip.compress, bz2.compress, lzma.compress, zlib.compress,
     partial(lzma.compress, format=lzma.FORMAT_ALONE)],
    ids=["gzip", "bzip2", "xz", "zlib", "lzma"],
)  # fmt: skip
def test_a_compressed_one_is_found(
    tmp_path: Path, mark: Path, pack: Callable[[bytes], bytes]
) -> None:
    report = scanned(tmp_path, "model.joblib", pack(pickle.dumps(Hostile(mark))))
    assert subjects(report) == MKDIR


def test_one_in_an_array_is_found(tmp_path: Path, mark: Path) -> None:
    np.save(tmp_path / "a.npy", np.array([Hostile(mark)], object), allow_pickle=True)
    np.savez(tmp_path / "b.npz", fine=np.ones(3), bad=np.array([Hostile(mark)], object))
    report = scan(tmp_path)
    assert subjects(report) == MKDIR * 2
    assert [each.where.partition(":")[0] for each in report.findings] == ["a.npy", "b.npz!bad.npy"]


def test_an_array_of_numbers_holds_none(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.frombuffer(b"\x80\x04cos\nsystem\n." * 8, np.uint8))
    assert scan(tmp_path).is_clean


def test_one_behind_an_array_of_joblib_is_found(tmp_path: Path, mark: Path) -> None:
    joblib = pytest.importorskip("joblib")
    joblib.dump([np.arange(1000.0), Hostile(mark), np.ones(3)], tmp_path / "a.joblib")
    joblib.dump(np.array([None, Hostile(mark)], object), tmp_path / "b.joblib", compress=3)
    assert subjects(scan(tmp_path)) == MKDIR * 2


def test_bytes_that_are_a_pickle_are_looked_into(tmp_path: Path, mark: Path) -> None:
    inner = pickle.dumps(Hostile(mark))
    report = scanned(tmp_path, "a.pkl", pickle.dumps({"state": pickle.dumps([inner])}))
    assert subjects(report) == MKDIR


def test_names_from_the_memo_are_followed(tmp_path: Path) -> None:
    # "posix" and "system" are put away first, and a harmless name lies between.
    content = (
        b"\x80\x04\x8c\x05posix\x94\x8c\x06system\x940\x8c\x08builtins\x8c\x04list\x930"
        b"0h\x00h\x01\x93\x8c\x02id\x85R."
    )
    report = scanned(tmp_path, "a.pkl", content)
    assert ("runs-code", "posix.system") in subjects(report)


def test_names_that_are_made_when_it_is_loaded_are_a_finding(tmp_path: Path) -> None:
    content = b"\x80\x04\x8c\x08builtins\x8c\x03str\x93\x8c\x05posix\x85R\x8c\x06system\x93."
    report = scanned(tmp_path, "a.pkl", content)
    assert ("hidden-code", "") in subjects(report)


def test_a_number_of_the_extension_registry_is_a_finding(tmp_path: Path) -> None:
    assert subjects(scanned(tmp_path, "a.pkl", b"\x80\x02\x82\x01.")) == [("hidden-code", "")]


def test_a_dotted_name_does_not_reach_through_a_harmless_module(tmp_path: Path) -> None:
    content = b"\x80\x04\x8c\x05numpy\x8c\x10ndarray.__init__\x93."
    assert subjects(scanned(tmp_path, "a.pkl", content)) == [
        ("runs-code", "numpy.ndarray.__init__")
    ]


def test_a_class_that_is_itself_changed_is_a_finding(tmp_path: Path) -> None:
    content = b"\x80\x04\x8c\x0bcollections\x8c\x0bOrderedDict\x93N}\x8c\x03pop\x8c\x01xs\x86b."
    assert subjects(scanned(tmp_path, "a.pkl", content)) == [
        ("runs-code", "collections.OrderedDict")
    ]


@pytest.mark.parametrize("cut", [3, 10, 24])
def test_a_truncated_one_is_never_clean(tmp_path: Path, mark: Path, cut: int) -> None:
    whole = pickle.dumps([Hostile(mark)] * 3)
    report = scanned(tmp_path, "a.pkl", whole[:-cut])
    assert not report.is_clean


def test_every_pickle_of_a_file_is_looked_at(tmp_path: Path, mark: Path) -> None:
    content = pickle.dumps([1]) + pickle.dumps("two") + pickle.dumps(Hostile(mark))
    assert subjects(scanned(tmp_path, "a.pkl", content)) == MKDIR


def test_what_follows_the_end_is_told(tmp_path: Path) -> None:
    report = scanned(tmp_path, "a.pkl", pickle.dumps([1]) + b"more than that")
    assert [each.rule for each in report.findings] == ["two-formats"]


def test_an_archive_behind_a_pickle_is_looked_into(tmp_path: Path, mark: Path) -> None:
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr("data.pkl", pickle.dumps(Hostile(mark)))
    report = scanned(tmp_path, "model.pt", pickle.dumps([1]) + archive.getvalue())
    assert {each.rule for each in report.findings} >= {"two-formats", "runs-code"}


def test_a_pickle_bomb_takes_no_time(tmp_path: Path) -> None:
    # Each list holds the one before twice: 2 ** 10000 elements for whoever walks them.
    content = b"\x80\x04" + b"]" + b"".join(b"q\x00](h\x00h\x00e" for _ in range(10_000)) + b"."
    assert scanned(tmp_path, "a.pkl", content).is_clean


def test_a_long_that_would_take_years_is_not_read(tmp_path: Path) -> None:
    content = b"\x80\x02\x8b\xff\xff\xff\x7f" + b"1" * 100 + b"."
    assert not scanned(tmp_path, "a.pkl", content).is_clean


@pytest.mark.parametrize("name", KNOWN_TO_SCANNERS.split())
def test_what_public_scanners_know_runs_code(name: str) -> None:
    module, _, last = name.rpartition(".")
    assert verdict(module, last).rule == "runs-code"


@pytest.mark.parametrize(
    ("name", "rule"),
    [
        ("socket.socket", "reaches-network"),
        ("requests.api.get", "reaches-network"),
        ("aiohttp.client.request", "reaches-network"),
        ("webbrowser.open", "reaches-network"),
        ("ssl.get_server_certificate", "reaches-network"),
        ("shutil.rmtree", "writes-file"),
        ("io.FileIO", "writes-file"),
        ("my_package.MyTransformer", "unknown-import"),
        ("__main__.Model", "unknown-import"),
        ("sklearn.datasets._base.load_files", "unknown-import"),
        ("sklearn.utils._testing.Popen", "unknown-import"),
        ("numpy.core._ufunc_reconstruct", "runs-code"),
        ("scipy.stats._continuous_distns.norm_gen", "runs-code"),
    ],
)
def test_what_else_is_not_harmless(name: str, rule: str) -> None:
    module, _, last = name.rpartition(".")
    assert verdict(module, last).rule == rule


def test_classes_that_scikit_learn_has_from_elsewhere_are_not_its_own() -> None:
    assert is_harmless("sklearn.ensemble._forest", "RandomForestClassifier")
    assert not is_harmless("sklearn.ensemble._forest", "Parallel")
    assert not is_harmless("sklearn.ensemble._forest", "_parallel_build_trees")
