"""The table of pixels that lie (tests/hostile_pixels.py) through the server and through `isocenter render`.

Each object is stored, asked for its frames, for a picture and for itself: what cannot be shown is said, in time and in
bounded memory, and what was stored comes back.
"""

from __future__ import annotations

import http.client
from collections import Counter
from contextlib import closing
from pathlib import Path

import pytest

import command
import ours
from hostile_pixels import CERTAIN, HARMLESS, TABLE
from isocenter.pixels import isolation
from isocenter.wire.part10 import file_meta
from measured import Spent, measured
from pixel_objects import DEFLATED_FRAME, ENCAPSULATED, EXPLICIT, RLE, data_set, element

SECONDS = 2.0  # of a processor, of all processes together
MEMORY = 200 << 20
SECONDARY_CAPTURE = "1.2.840.10008.5.1.4.1.1.7"
# What is no data set that can be read up to its end, and so is not stored
REFUSED = {"no offset table"}


def file(pixels: bytes, instance: str, uid: str, *, little: bool = True) -> bytes:
    """A file of a Secondary Capture with these elements of Image Pixel."""
    uids = ((0x00080016, SECONDARY_CAPTURE), (0x00080018, instance), (0x0020000D, "1.2.3"), (0x0020000E, "1.2.4"))
    head = b"".join(element(tag, "UI", one.encode() + b"\0" * (len(one) % 2), little=little) for tag, one in uids)
    return file_meta(SECONDARY_CAPTURE, instance, uid) + head + pixels


@pytest.fixture(scope="module")
def lies() -> list[tuple[str, str, bytes]]:
    """What each is, its SOP Instance UID, and its file."""
    found = []
    for number, (what, pixels, header, uid) in enumerate(TABLE, 1):
        instance = f"1.2.5.{number}"
        data = file(data_set(pixels, **header), instance, uid, little=bool(header.get("little", True)))
        found.append((what, instance, data))
    assert len(found) >= 200
    return found


class Asker:
    """One connection to the server, which runs in this process."""

    def __init__(self, url: str) -> None:
        host, _, port = url.removeprefix("http://").rstrip("/").partition(":")
        self.connection = http.client.HTTPConnection(host, int(port), timeout=60)

    def __call__(self, method: str, path: str, body: bytes = b"", **headers: str) -> tuple[int, bytes]:
        self.connection.request(method, path, body, {key.replace("_", "-"): value for key, value in headers.items()})
        response = self.connection.getresponse()
        return response.status, response.read()

    def close(self) -> None:
        self.connection.close()


def believable(what: str, uid: str) -> bool:
    """Whether a picture may come of it: noise where a format cannot tell, and lies that change nothing."""
    return "noise" in what or what in HARMLESS or (uid in (DEFLATED_FRAME, RLE, ENCAPSULATED) and what not in CERTAIN)


def test_the_server_says_what_it_cannot_show(lies: list[tuple[str, str, bytes]], tmp_path: Path) -> None:
    answers: dict[str, Counter[int]] = {"frames": Counter(), "rendered": Counter()}
    with ours.node(tmp_path / "data", limits_codec_processes=1) as node, closing(Asker(node.url)) as ask:
        pool = isolation.current()
        assert pool is not None
        isolation.warm()
        pids = pool.processes()
        for (what, instance, data), (_, _, _, uid) in zip(lies, TABLE, strict=True):
            spent = Spent(pids)
            stored = store(ask, data)
            assert spent.seconds < SECONDS, what
            if stored != 200:
                assert what in REFUSED, (what, stored)
                continue
            path = f"/dicomweb/studies/1.2.3/series/1.2.4/instances/{instance}"
            for resource_, below, accept in (
                ("frames", "/frames/1", "application/octet-stream"),
                ("rendered", "/rendered", "image/png"),
            ):
                spent = Spent(pids)
                status, body = ask("GET", path + below, Accept=accept)
                answers[resource_][status] += 1
                assert spent.seconds < SECONDS, (what, resource_)
                assert spent.memory < MEMORY, (what, resource_)
                assert status in (200, 404, 406, 409, 422), (what, resource_, status, body[:200])
                if status == 200 and resource_ != "frames":
                    assert believable(what, uid), (what, resource_)
                elif status != 200:
                    assert b"crashed" not in body, (what, resource_)
            status, again = ask("GET", path, Accept='application/dicom; transfer-syntax="*"')
            assert (status, again == data) == (200, True), what
        assert pool.processes() == pids, "no decoder died of it"
    assert sum(answers["rendered"].values()) >= 200
    assert answers["rendered"][422] >= 150, answers


def store(ask: Asker, data: bytes) -> int:
    body = b"--x\r\nContent-Type: application/dicom\r\n\r\n" + data + b"\r\n--x--\r\n"
    status, _ = ask(
        "POST", "/dicomweb/studies", body, Content_Type='multipart/related; type="application/dicom"; boundary=x',
        Accept="application/dicom+json",
    )  # fmt: skip
    return status


def test_render_names_each_and_goes_on(lies: list[tuple[str, str, bytes]], tmp_path: Path) -> None:
    """All of them in one call of `isocenter render`, beside one honest object: its picture, and a line for each."""
    folder = tmp_path / "in"
    folder.mkdir()
    for _, instance, data in lies:
        (folder / f"{instance}.dcm").write_bytes(data)
    (folder / "honest.dcm").write_bytes(file(data_set(bytes(range(64)), rows=8, columns=8), "1.2.5.999", EXPLICIT))
    argv = [*command.ISOCENTER, "render", str(folder), "-o", f"{tmp_path}/out/", "--size", "64x64"]
    with (tmp_path / "stderr").open("wb") as stderr:
        used = measured(argv, stderr)
    complaints = (tmp_path / "stderr").read_text()
    assert used.returncode == 1
    assert "Traceback" not in complaints
    assert (tmp_path / "out" / "honest.png").is_file()
    made = {path.stem for path in (tmp_path / "out").iterdir()}
    told = {name for name in (instance for _, instance, _ in lies) if f"{name}.dcm" in complaints}
    for (what, instance, _), (_, _, _, uid) in zip(lies, TABLE, strict=True):
        assert instance in made or instance in told, what
        assert instance not in made or believable(what, uid), what
    assert used.seconds < SECONDS * len(lies) / 10
    assert used.peak < 400 << 20
