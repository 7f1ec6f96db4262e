"""TensorFlow's operations that do more than compute, each with one sentence why it matters.

Source: the definitions and kernels of TensorFlow 2.21 (tensorflow/core/ops and kernels), and of
extensions that were once part of it; SECURITY.md of TensorFlow.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Operation:
    """Why an operation is looked at."""

    rule: str
    why: str


_READS = "reads-file"
_WRITES = "writes-file"
_NETWORK = "reaches-network"
_ENDS = "ends-process"
_CODE = "runs-code"
_HIDDEN = "hidden-code"

_GROUPS: tuple[tuple[str, str, str], ...] = (
    (_READS, "it returns the content of any file that the server can read", "ReadFile"),
    (_READS, "it lists which files there are on the server", "MatchingFiles MatchingFilesDataset"),
    (
        _READS,
        "it opens files by name, on this machine or on remote storage",
        """WholeFileReader WholeFileReaderV2 TextLineReader TextLineReaderV2 TFRecordReader
        TFRecordReaderV2 FixedLengthRecordReader FixedLengthRecordReaderV2 LMDBReader RecordInput
        ReaderRead ReaderReadV2 ReaderReadUpTo ReaderReadUpToV2""",
    ),
    (
        _READS,
        "it reads data of files by name, as pipelines of training do",
        """TextLineDataset TFRecordDataset TFRecordDatasetV2 FixedLengthRecordDataset
        FixedLengthRecordDatasetV2 CSVDataset CSVDatasetV2 LMDBDataset LoadDataset
        SnapshotDatasetReader SnapshotNestedDatasetReader SnapshotChunkDataset
        ListSnapshotChunksDataset""",
    ),
    (_READS, "it opens a database by name and runs queries on it", "SqlDataset"),
    (
        _READS,
        "it reads lines of a file that is no asset of the model",
        "InitializeTableFromTextFile InitializeTableFromTextFileV2 GenerateVocabRemapping",
    ),
    (
        _READS,
        "it reads tensors of a checkpoint by name, outside of the model's own saver",
        "Restore RestoreSlice RestoreV2 DTensorRestoreV2 LoadAndRemapMatrix",
    ),
    (_READS, "it loads a compiled engine from a file", "InitializeTRTResource"),
    (_WRITES, "it writes any content to any file that the server may write", "WriteFile"),
    (
        _WRITES,
        "it writes checkpoint files, outside of the model's own saver",
        "Save SaveSlices SaveV2 MergeV2Checkpoints",
    ),
    (
        _WRITES,
        "it writes files of data by name",
        """SaveDataset SaveDatasetV2 SnapshotDataset SnapshotDatasetV2 DatasetToTFRecord
        DistributedSave CalibrationStatisticsSaver DumpTensor SerializeTRTResource""",
    ),
    (
        _WRITES,
        "it writes event files, as training does for TensorBoard",
        """CreateSummaryFileWriter CreateSummaryDbWriter SummaryWriter ImportEvent WriteSummary
        WriteScalarSummary WriteHistogramSummary WriteImageSummary WriteAudioSummary
        WriteGraphSummary WriteRawProtoSummary FlushSummaryWriter CloseSummaryWriter
        StatsAggregatorSetSummaryWriter""",
    ),
    (
        _CODE,
        "it calls a function of Python that whoever loads the model has registered",
        "PyFunc PyFuncStateless EagerPyFunc",
    ),
    (_CODE, "it calls native code of the process by its name", "XlaCustomCall XlaCustomCallV2"),
    (_CODE, "it starts ffmpeg", "DecodeAudio DecodeAudioV2 EncodeAudio DecodeVideo"),
    (
        _HIDDEN,
        "it runs a graph that is data: made by the model, or sent by a client",
        "DatasetFromGraph DeserializeIterator RewriteDataset",
    ),
    (_HIDDEN, "it compiles and runs a program that is an attribute", "MlirPassthroughOp"),
    (
        _NETWORK,
        "it opens connections to addresses that the model names",
        """RpcClient RpcCall RpcServer RpcServerStart RpcServerRegister RpcGetValue RpcCheckStatus
        Rpc TryRpc DataServiceDataset DataServiceDatasetV2 DataServiceDatasetV3
        DataServiceDatasetV4 RegisterDataset RegisterDatasetV2""",
    ),
    (
        _NETWORK,
        "it reads data of services on the network",
        """BigQueryReader GenerateBigQueryReaderPartitions BigtableClient BigtableTable
        BigtableLookupDataset BigtableScanDataset PubSubDataset KafkaDataset KinesisDataset
        IgniteDataset BigQueryClient BigQueryReadSession BigQueryDataset""",
    ),
    (
        _NETWORK,
        "it changes how the whole process reaches storage: addresses and credentials",
        """FileSystemSetConfiguration GcsConfigureCredentials GcsConfigureBlockCache""",
    ),
    (_NETWORK, "it runs a function on a device of another process", "RemoteCall"),
    (_ENDS, "it ends the whole process", "Abort"),
    (
        _ENDS,
        "it stops the accelerator, for all models",
        "ShutdownDistributedTPU ShutdownTPUSystem _ShutdownDistributedTPU WorkerHeartbeat",
    ),
    (
        "distributed",
        "it waits for other processes and sends them data",
        """CollectiveInitializeCommunicator CollectiveReduce CollectiveReduceV2 CollectiveReduceV3
        CollectiveGather CollectiveGatherV2 CollectiveBcastSend CollectiveBcastSendV2
        CollectiveBcastRecv CollectiveBcastRecvV2 CollectiveAllToAllV2 CollectiveAllToAllV3
        CollectiveReduceScatterV2 CollectivePermute CollectiveAssignGroupV2 Send Recv _Send _Recv
        _HostSend _HostRecv ConfigureDistributedTPU _ConfigureDistributedTPU""",
    ),
)

_ATTRIBUTES: Mapping[str, tuple[str, str]] = {
    "FixedUnigramCandidateSampler": ("vocab_file", "it reads the file that the attribute names"),
    "ImmutableConst": (
        "memory_region_name",
        "it returns the content of the file that the attribute names",
    ),
    "Skipgram": ("filename", "it reads the file that the attribute names"),
}
"""Operations that read a file only where an attribute is not empty."""

_EXPERIMENTAL = "Experimental"


@cache
def _table() -> Mapping[str, Operation]:
    return {name: Operation(rule, why) for rule, why, names in _GROUPS for name in names.split()}


def noted(operation: str) -> Operation | None:
    """Why an operation is looked at; None if it only computes, or is not known."""
    return _table().get(operation.removeprefix(_EXPERIMENTAL))


def table() -> Mapping[str, Operation]:
    """All of them, by name."""
    return _table()


def file_attribute(operation: str) -> tuple[str, str] | None:
    """The attribute through which an operation reads a file, and why that matters."""
    return _ATTRIBUTES.get(operation)


def by_attribute(operation: str) -> Operation | None:
    """The same where the attribute cannot be looked at; None if there is no such attribute."""
    found = file_attribute(operation)
    return None if found is None else Operation(_READS, found[1])


@cache
def known_operations() -> frozenset[str]:
    """The names of all operations that TensorFlow registers by itself."""
    file = Path(__file__).with_name("tensorflow_operations.txt")
    return frozenset(file.read_text("ascii").split())


def is_known(operation: str) -> bool:
    """Whether TensorFlow brings an operation along; those of oneDNN are the runtime's own."""
    return operation in known_operations() or operation.startswith(("_Mkl", "__Mkl"))


NAMED_BY_INPUT: Mapping[str, tuple[int, ...]] = {
    "ReadFile": (0,), "MatchingFiles": (0,), "MatchingFilesDataset": (0,), "WriteFile": (0,),
    "InitializeTableFromTextFile": (1,), "InitializeTableFromTextFileV2": (1,),
    "GenerateVocabRemapping": (0, 1), "LoadAndRemapMatrix": (0,), "LMDBDataset": (0,),
    "TextLineDataset": (0,), "TFRecordDataset": (0,), "TFRecordDatasetV2": (0,),
    "FixedLengthRecordDataset": (0,), "FixedLengthRecordDatasetV2": (0,), "CSVDataset": (0,),
    "CSVDatasetV2": (0,), "SqlDataset": (1,), "LoadDataset": (0,), "SaveDataset": (1,),
    "SaveDatasetV2": (1,), "SnapshotDataset": (1,), "SnapshotDatasetV2": (1,),
    "DatasetToTFRecord": (1,), "Save": (0,), "SaveSlices": (0,), "SaveV2": (0,),
    "MergeV2Checkpoints": (0, 1), "Restore": (0,), "RestoreSlice": (0,), "RestoreV2": (0,),
    "CreateSummaryFileWriter": (1,), "CreateSummaryDbWriter": (1,), "CacheDataset": (1,),
    "CacheDatasetV2": (1,), "DistributedSave": (1,), "SnapshotChunkDataset": (0,),
}  # fmt: skip
"""Which inputs of an operation say what is read or written."""

SAVES = frozenset(("Save", "SaveSlices", "SaveV2", "MergeV2Checkpoints"))
RESTORES = frozenset(("Restore", "RestoreSlice", "RestoreV2"))
"""What a saver is made of."""
