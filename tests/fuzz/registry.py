"""Every border by name."""

from collections.abc import Callable, Mapping

from tests.fuzz.border import Border
from tests.fuzz.codec_borders import borders
from tests.fuzz.server_border import ServerBorder
from tests.fuzz.wire_borders import GrpcBorder, Http1Border, Http2Border

CODECS: Mapping[str, Callable[[], Border]] = dict(borders())
BORDERS: Mapping[str, Callable[[], Border]] = {
    **CODECS,
    "http1": Http1Border,
    "http2": Http2Border,
    "grpc": GrpcBorder,
    "server": ServerBorder,
}
