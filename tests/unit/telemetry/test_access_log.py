import json
import logging
from pathlib import Path
from typing import Any

import pytest

from salver.core.servable import ServableId
from salver.telemetry.access_log import AccessLog
from salver.telemetry.access_log_writer import AccessLogWriter
from salver.telemetry.request_record import RequestRecord


class Site:
    """A log whose writer writes when the test says so."""

    def __init__(self, path: str | Path) -> None:
        self.lost = 0
        self.log = AccessLog(self._lose)
        self.writer = AccessLogWriter(str(path), self.log, self._lose)

    def _lose(self, lines: int) -> None:
        self.lost += lines

    def begin(self, path: bytes = b"/p", protocol: str = "HTTP/1.1") -> RequestRecord:
        return RequestRecord(self.log, "127.0.0.1:5", protocol, b"POST", path, 7)


def entries(path: Path) -> list[Any]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_a_line_has_all_that_the_record_was_told(tmp_path: Path) -> None:
    path = tmp_path / "log"
    site = Site(path)
    record = site.begin(b"/v1/models/m:predict?key=secret")
    record.asks("m", "serving_default")
    record.opened(ServableId("m", 4))
    record.end(200, 30)
    record.finished_ns, record.latency_s = 1_700_000_000_062_999_999, 0.0123456
    site.writer.write_all()
    assert path.read_text() == (
        '{"time":"2023-11-14T22:13:20.062Z","client":"127.0.0.1:5","protocol":"HTTP/1.1",'
        '"method":"POST","path":"/v1/models/m:predict","model":"m","version":4,'
        '"signature":"serving_default","status":200,"request_bytes":7,"response_bytes":30,'
        '"latency_ms":12.346}\n'
    )


def test_what_nobody_told_is_null(tmp_path: Path) -> None:
    path = tmp_path / "log"
    site = Site(path)
    site.begin(protocol="gRPC").end(200, 0, 12)
    site.writer.write_all()
    (entry,) = entries(path)
    assert entry["model"] is entry["version"] is entry["signature"] is None
    assert entry["grpc_status"] == "UNIMPLEMENTED"


def test_hostile_names_stay_within_their_strings(tmp_path: Path) -> None:
    path = tmp_path / "log"
    site = Site(path)
    record = site.begin(b'/"\n\x00\xff' + b"x" * 5000)
    record.asks('m"\n\udcff{', "s\\")
    record.end(404, 0)
    site.writer.write_all()
    (entry,) = entries(path)
    assert entry["path"].startswith('/"\n\x00\\xff')
    assert len(entry["path"]) < 1100
    assert (entry["model"], entry["signature"]) == ('m"\n\udcff{', "s\\")


def test_a_client_that_is_gone_is_told_in_the_terms_of_its_protocol(tmp_path: Path) -> None:
    path = tmp_path / "log"
    site = Site(path)
    for protocol in ("HTTP/2", "gRPC"):
        site.begin(protocol=protocol).abandon()
    site.writer.write_all()
    http, grpc = entries(path)
    assert (http["status"], grpc["status"], grpc["grpc_status"]) == (499, 499, "CANCELLED")
    assert "grpc_status" not in http


def test_records_beyond_the_bound_are_lost_and_counted(tmp_path: Path) -> None:
    path = tmp_path / "log"
    site = Site(path)
    for _ in range(50_010):
        site.begin().end(200, 0)
    assert site.lost == 10
    site.writer.write_all()
    assert len(entries(path)) == 50_000


def test_lines_that_cannot_be_written_are_counted_and_told_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    site = Site("/dev/full")
    with caplog.at_level(logging.ERROR):
        for _ in range(3):
            site.begin().end(200, 0)
            site.writer.write_all()
    assert site.lost == 3
    (line,) = caplog.messages
    assert line == "The access log cannot be written: /dev/full; No space left on device"


def test_what_came_before_the_reopening_goes_to_the_old_file(tmp_path: Path) -> None:
    path, old = tmp_path / "log", tmp_path / "old"
    site = Site(path)
    site.begin(b"/1").end(200, 0)
    path.rename(old)
    site.writer.reopen()
    site.writer.write_all()
    site.begin(b"/2").end(200, 0)
    site.writer.write_all()
    assert [entry["path"] for entry in entries(old)] == ["/1"]
    assert [entry["path"] for entry in entries(path)] == ["/2"]


def test_a_file_that_cannot_be_opened_anew_leaves_the_old_one(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    site = Site(folder / "log")
    folder.rename(tmp_path / "moved")
    site.writer.reopen()
    site.writer.write_all()
    site.begin().end(200, 0)
    site.writer.write_all()
    assert len(entries(tmp_path / "moved" / "log")) == 1
    assert "stays in its old file" in caplog.text


def test_what_waits_is_written_before_the_thread_ends(tmp_path: Path) -> None:
    path = tmp_path / "log"
    site = Site(path)
    site.writer.start()
    for _ in range(1000):
        site.begin().end(200, 0)
    site.writer.stop(20.0)
    assert len(entries(path)) == 1000
