"""isocenter import --to: our own server, and servers that answer otherwise."""

from __future__ import annotations

import json
import threading
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner, Result

import isocenter
import ours
from isocenter.cli.main import app


def put(url: str, *paths: str | Path) -> Result:
    return CliRunner().invoke(app, ["import", "--json", "--to", url, *map(str, paths)])


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    (tmp_path / "files").mkdir()
    paths = [tmp_path / "files" / f"{n}.dcm" for n in range(3)]
    for path in paths:
        isocenter.create(np.zeros((4, 5), "u1")).save_as(path, enforce_file_format=True)  # type: ignore[union-attr]
    return paths


def test_into_a_running_server(tmp_path: Path, files: list[Path]) -> None:
    (tmp_path / "files" / "readme").write_text("no DICOM")
    (tmp_path / "files" / "cut.dcm").write_bytes(files[0].read_bytes()[:-20])
    with zipfile.ZipFile(tmp_path / "files" / "more.zip", "w") as archive:
        archive.write(files[1], "a/b")
    with ours.node(tmp_path / "data") as node:
        done = put(f"{node.url}dicomweb", tmp_path / "files")
        summary = json.loads(done.stdout)
        assert (summary["stored"], summary["not_dicom"], summary["refused"]) == (3 + 1, 1, 1), done.output
        assert summary["refusals"][0]["files"] == [str(tmp_path / "files" / "cut.dcm")]
        assert "C000" in summary["refusals"][0]["reason"]
        assert done.exit_code == 1
        # what is there now is what was sent
        again = json.loads(put(f"{node.url}dicomweb", *files).stdout)
        assert (again["stored"], again["refused"]) == (3, 0)
    held = CliRunner().invoke(app, ["import", "--json", "--data", str(tmp_path / "data"), *map(str, files)])
    assert json.loads(held.stdout)["already_there"] == 3


@contextmanager
def server(status: int, answer: Any, *, swallow: bool = True, warning: str = "") -> Iterator[tuple[str, list[bytes]]]:
    """A DICOMweb service that gives every request the same answer; with its URL, the bodies it got."""
    bodies: list[bytes] = []

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            if not swallow:
                self.connection.close()
                return
            bodies.append(self.rfile.read(int(self.headers["Content-Length"])))
            content = answer.encode() if isinstance(answer, str) else json.dumps(answer).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(content)))
            if warning:
                self.send_header("Warning", warning)
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, format: str, *args: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as running:
        threading.Thread(target=running.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{running.server_port}/dicom-web/", bodies
        running.shutdown()


def test_the_body_is_multipart_with_the_files_as_they_are(files: list[Path]) -> None:
    with server(200, {}) as (url, bodies):
        done = put(url, *files)
    assert json.loads(done.stdout)["stored"] == 3
    (body,) = bodies
    boundary = body.split(b"\r\n", 1)[0]
    parts = body.split(boundary)
    assert (parts[0], parts[-1]) == (b"", b"--\r\n")
    contents = [part.split(b"\r\n\r\n", 1)[1][:-2] for part in parts[1:-1]]
    assert contents == [path.read_bytes() for path in files]


def test_failures_are_matched_by_uid_and_said(files: list[Path]) -> None:
    import pydicom

    uids = [pydicom.dcmread(path).SOPInstanceUID for path in files]
    answer = {
        "00081199": {
            "vr": "SQ",
            "Value": [item(uids[0]), {**item(uids[1]), "00081196": {"vr": "US", "Value": [0xB000]}}],
        },
        "00081198": {"vr": "SQ", "Value": [{**item(uids[2]), "00081197": {"vr": "US", "Value": [0xA700]}}]},
    }
    with server(202, answer, warning="299 http://x/dicom-web: the disk\x1b is full") as (url, _):
        done = put(url, *files)
        in_words = CliRunner().invoke(app, ["store", url, *map(str, files)])
    summary = json.loads(done.stdout)
    assert (done.exit_code, summary["stored"], summary["with_warning"], summary["refused"]) == (1, 2, 1, 1)
    assert summary["refusals"] == [{"reason": "out of resources (A700)", "count": 1, "files": [str(files[2])]}]
    coerced = {"reason": "Coercion of data elements (B000)", "count": 1, "files": [str(files[1])]}
    assert [coerced] == summary["warnings"]
    assert ["the disk is full"] == summary["said"]
    assert f"stored with a warning: Coercion of data elements (B000) (1)\n  {files[1]}\n" in in_words.stderr
    assert "the service warns: the disk is full\n" in in_words.stderr


def item(uid: str) -> dict[str, Any]:
    return {"00081155": {"vr": "UI", "Value": [uid]}}


@pytest.mark.parametrize(
    ("status", "answer", "code", "words"),
    [
        (404, "gone", 3, "the server answers 404 Not Found"),
        (401, {"error": {"message": "who are you"}}, 3, "401 Unauthorized: who are you"),
        (500, "<html>", 1, "the server answers 500"),
        (409, {"00081198": {"vr": "SQ", "Value": [7, {}]}}, 1, "does not name it among the stored"),
        (200, [1, 2], 0, ""),
        (400, {"error": {"message": "no"}}, 1, "the server answers 400: no"),
    ],
)
def test_servers_that_answer_otherwise(status: int, answer: Any, code: int, words: str, files: list[Path]) -> None:
    with server(status, answer) as (url, _):
        done = put(url, files[0])
    assert done.exit_code == code
    assert words in done.stderr + done.stdout
    assert "Traceback" not in done.stderr


def test_no_server_and_a_server_that_hangs_up(files: list[Path]) -> None:
    with server(200, {}, swallow=False) as (url, _):
        done = put(url, *files)
    assert (done.exit_code, "the connection broke" in done.stderr) == (3, True)
    done = put(url, *files)
    assert (done.exit_code, "Connection refused" in done.stderr) == (3, True)
