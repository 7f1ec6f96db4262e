"""Hostile SavedModels, and the parts of honest ones that look alike."""

from pathlib import Path
from typing import Any

import pytest
from google.protobuf import text_format

from salver.codecs.messages import message_class
from salver.scanning.report import Finding
from salver.scanning.scan import scan
from tests.unit.scanning.graphs import constant, function, meta_graph, node, write

SAVER = ("name:0", "saved:0", "restored")
CALL = "StatefulPartitionedCall"


def found(folder: Path) -> list[Finding]:
    return list(scan(folder).findings)


def rules(folder: Path) -> list[tuple[str, str]]:
    return [(each.rule, each.subject) for each in found(folder)]


@pytest.mark.parametrize(
    ("operation", "rule"),
    [
        ("ReadFile", "reads-file"),
        ("MatchingFiles", "reads-file"),
        ("WholeFileReaderV2", "reads-file"),
        ("TFRecordDataset", "reads-file"),
        ("ExperimentalSqlDataset", "reads-file"),
        ("InitializeTableFromTextFileV2", "reads-file"),
        ("LoadAndRemapMatrix", "reads-file"),
        ("RestoreSlice", "reads-file"),
        ("WriteFile", "writes-file"),
        ("SaveDatasetV2", "writes-file"),
        ("DumpTensor", "writes-file"),
        ("CreateSummaryFileWriter", "writes-file"),
        ("PyFunc", "runs-code"),
        ("PyFuncStateless", "runs-code"),
        ("EagerPyFunc", "runs-code"),
        ("XlaCustomCallV2", "runs-code"),
        ("DatasetFromGraph", "hidden-code"),
        ("DataServiceDatasetV4", "reaches-network"),
        ("RpcClient", "reaches-network"),
        ("FileSystemSetConfiguration", "reaches-network"),
        ("RemoteCall", "reaches-network"),
        ("Abort", "ends-process"),
        ("CollectiveReduceV2", "distributed"),
        ("IO>BigQueryClient", "unknown-operation"),
        ("MyVeryOwn", "unknown-operation"),
    ],
)  # fmt: skip
def test_an_operation_that_does_more_than_compute_is_found(
    tmp_path: Path, operation: str, rule: str
) -> None:
    x = node("x", "Placeholder")
    write(tmp_path, meta_graph(x, node("y", operation, "x", "x"), outputs={"s": "y:0"}))
    assert rules(tmp_path) == [(rule, operation)]


@pytest.mark.parametrize(
    "made",
    [
        node("y", "PrintV2", texts={"output_stream": "file:///tmp/x"}),
        node("y", "DebugIdentityV2", texts={"debug_urls": ["file:///tmp/x"]}),
        node("y", "DebugNumericSummary", texts={"debug_urls": ["grpc://there:80"]}),
        node("y", "DecodeProtoV2", texts={"descriptor_source": "/etc/passwd"}),
        node("y", "FixedUnigramCandidateSampler", texts={"vocab_file": "/etc/passwd"}),
        node("y", "ImmutableConst", texts={"memory_region_name": "/etc/passwd"}),
    ],
    ids=lambda made: made["op"],
)
def test_an_operation_that_does_more_by_an_attribute_is_found(
    tmp_path: Path, made: dict[str, Any]
) -> None:
    write(tmp_path, meta_graph(made, outputs={"s": "y:0"}))
    assert [subject for _, subject in rules(tmp_path)] == [made["op"]]


@pytest.mark.parametrize(
    "made",
    [
        node("y", "PrintV2", texts={"output_stream": "stderr"}),
        node("y", "DebugIdentityV2"),
        node("y", "DecodeProtoV2", texts={"descriptor_source": "local://"}),
        node("y", "FixedUnigramCandidateSampler", texts={"vocab_file": ""}),
        node("y", "ParseExampleV2"),
        node("y", "LookupTableImportV2"),
        node("y", "TensorSliceDataset"),
    ],
    ids=lambda made: made["op"],
)
def test_the_same_operation_without_it_is_not(tmp_path: Path, made: dict[str, Any]) -> None:
    write(tmp_path, meta_graph(made, outputs={"s": "y:0"}))
    assert rules(tmp_path) == []


def test_a_cache_in_memory_is_not_one_in_a_file(tmp_path: Path) -> None:
    def cached(place: str) -> Any:
        y = node("y", "CacheDatasetV2", "x", "file")
        return meta_graph(node("x", "Placeholder"), constant("file", place), y)

    assert rules(write(tmp_path / "memory", cached(""))) == []
    assert rules(write(tmp_path / "file", cached("/tmp/x"))) == [("writes-file", "CacheDatasetV2")]


def test_it_is_found_in_a_function_that_nothing_calls_and_in_every_meta_graph(
    tmp_path: Path,
) -> None:
    hidden = function("hidden", ["x"], node("y", "WriteFile", "x", "x"))
    first = meta_graph(node("x", "Placeholder"), outputs={"s": "x:0"})
    second = meta_graph(functions=(hidden,), tags=("serve", "tpu"))
    (finding,) = found(write(tmp_path, first, second))
    assert finding.where == ('saved_model.pb: MetaGraph serve,tpu: node "y" in function "hidden"')
    assert finding.what.endswith("run by no signature")


def test_what_is_read_and_when_is_told(tmp_path: Path) -> None:
    inner = function("inner", ["path"], node("read", "ReadFile", "path"))
    graph = meta_graph(
        constant("file", "/etc/passwd"),
        node("call", CALL, "file", function="inner"),
        functions=(inner,),
        outputs={"serving_default": "call:0"},
    )
    (finding,) = found(write(tmp_path, graph))
    assert finding.what == "ReadFile with /etc/passwd, run by serving_default"


def own_saver(*more: dict[str, Any], restored: dict[str, Any] | None = None) -> Any:
    """What TensorFlow 2 writes, and what is put beside it."""
    saves = function(
        "save",
        ["prefix"],
        constant("ending", "_temp/part"),
        node("joined", "StringJoin", "prefix", "ending:output:0"),
        node("shard", "ShardedFilename", "joined:output:0"),
        node("write", "SaveV2", "shard:filename:0"),
        node("merge", "MergeV2Checkpoints", "shard:filename:0", "prefix"),
    )
    restores = function("restore", ["prefix"], restored or node("read", "RestoreV2", "prefix"))
    return meta_graph(
        node("name", "Placeholder"),
        node("saved", CALL, "name", function="save"),
        node("restored", CALL, "name", function="restore"),
        *more,
        functions=(saves, restores),
        outputs={"s": "y:0"},
        saver=SAVER,
    )


def test_the_models_own_saver_is_no_finding(tmp_path: Path) -> None:
    assert rules(write(tmp_path, own_saver(node("y", "Placeholder")))) == []


def test_a_saver_that_a_request_runs_is_one(tmp_path: Path) -> None:
    graph = own_saver(node("y", CALL, "name", function="save"))
    assert rules(write(tmp_path, graph)) == [
        ("writes-file", "SaveV2"),
        ("writes-file", "MergeV2Checkpoints"),
    ]


def test_a_saver_that_is_run_with_a_name_of_its_own_is_one(tmp_path: Path) -> None:
    elsewhere = own_saver(
        constant("file", "/etc/keys"),
        node("restored2", CALL, "file", function="restore"),
        node("y", "Placeholder"),
    )
    elsewhere.saver_def.restore_op_name = "restored2"
    assert rules(write(tmp_path, elsewhere)) == [("reads-file", "RestoreV2")]


@pytest.mark.parametrize(
    "restored",
    [
        node("read", "WriteFile", "prefix", "prefix"),
        node("read", "SaveV2", "prefix"),
        node("read", "MyVeryOwn", "prefix"),
    ],
    ids=lambda made: made["op"],
)
def test_what_a_saver_does_beside_reading_is_one(tmp_path: Path, restored: dict[str, Any]) -> None:
    (finding,) = found(write(tmp_path, own_saver(node("y", "Placeholder"), restored=restored)))
    assert finding.subject == restored["op"]
    assert finding.what.endswith("run when the version is loaded")


def test_a_checkpoint_beside_the_given_name_is_one(tmp_path: Path) -> None:
    graph = own_saver(node("y", "Placeholder"))
    graph.graph_def.library.function[0].node_def[0].attr["value"].tensor.string_val[0] = b"/../x"
    assert set(rules(write(tmp_path, graph))) == {
        ("writes-file", "SaveV2"),
        ("writes-file", "MergeV2Checkpoints"),
    }


def table(*, asset: bool, by: str) -> Any:
    """A table that is filled from a file when the version is loaded, or when it is asked."""
    return meta_graph(
        constant("file", "/somewhere/words.txt"),
        node("table", "HashTableV2"),
        node("fill", "InitializeTableFromTextFileV2", "table", "file"),
        node("x", "Placeholder"),
        outputs={by: "fill"},
        assets={"file:0": "words.txt"} if asset else {},
    )


def test_a_table_that_is_filled_from_an_asset_is_no_finding(tmp_path: Path) -> None:
    assert rules(write(tmp_path, table(asset=True, by="__saved_model_init_op"))) == []


@pytest.mark.parametrize(
    ("asset", "by"),
    [(False, "__saved_model_init_op"), (True, "serving_default")],
    ids=["from another file", "when it is asked: then the path is the exporter's"],
)
def test_a_table_that_is_filled_otherwise_is_one(tmp_path: Path, asset: bool, by: str) -> None:
    expected = [("reads-file", "InitializeTableFromTextFileV2")]
    assert rules(write(tmp_path, table(asset=asset, by=by))) == expected


@pytest.mark.parametrize("path", ["../../../etc/passwd", "/etc/passwd", "s3://bucket/x"])
def test_an_asset_outside_of_the_folder_is_found(tmp_path: Path, path: str) -> None:
    write(tmp_path, meta_graph(node("x", "Placeholder"), assets={"x:0": path}))
    assert rules(tmp_path) == [("path-outside", path)]


def test_the_text_format_is_looked_at_too(tmp_path: Path) -> None:
    model = message_class("tensorflow.SavedModel")()
    model.meta_graphs.add().CopyFrom(meta_graph(node("y", "ReadFile", "x")))
    (tmp_path / "saved_model.pbtxt").write_text(text_format.MessageToString(model))
    assert rules(tmp_path) == [("reads-file", "ReadFile")]


def test_a_frozen_graph_is_looked_at_too(tmp_path: Path) -> None:
    graph = meta_graph(node("x", "Placeholder"), node("y", "ReadFile", "x"))
    (tmp_path / "frozen_graph.pb").write_bytes(graph.graph_def.SerializeToString())
    assert rules(tmp_path) == [("reads-file", "ReadFile")]


@pytest.mark.parametrize("content", [b"nothing", b"\x12\xff\xff\xff\xff\x7f", b"\x0a\x00"])
def test_a_file_that_is_none_is_not_called_safe(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "saved_model.pb").write_bytes(content)
    assert [each.rule for each in found(tmp_path)] == ["unreadable"]


def test_many_like_nodes_are_told_once(tmp_path: Path) -> None:
    nodes = [node(f"y{number}", "ReadFile", "x") for number in range(50)]
    (finding,) = found(write(tmp_path, meta_graph(node("x", "Placeholder"), *nodes)))
    assert finding.more == 49
