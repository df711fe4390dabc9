"""DICOMweb: `isocenter serve` beside Orthanc with its DICOMweb plugin.

Both hold the same study of 1,000 CT instances, stored by the same sender. "Cold" is the first request of all to a
server just started on a copy of an archive that was never asked before; "warm" is the same request repeated. The client
is http.client without compression, and the clock stops when the last byte is there. Every answer is parsed afterwards
and must have 1,000 entries.

The other rows are rates of a warm server, one client on one connection: a study of 512 KiB slices as it is stored, read
to its end; single frames and renderings of different slices; objects stored by STOW-RS, ten in a request (ours with its
durability); and a search that finds 10,000 studies.
"""

from __future__ import annotations

import functools
import http.client
import json
import secrets
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import harness
import objects
import sender
from harness import peers

LOAD = sender.Load(39 * 1024, 990, 1)
INSTANCES = 1000  # with the ten that warm the sender up
STUDY = f"{objects.ROOT}.1000.1"
GOAL_WARM, GOAL_COLD = 10.0, 2.0
REPEAT = 3

SLICES = sender.Load(512 * 1024, 190, 1)  # and ten to warm up: 100 MiB
SLICES_BATCH = 1
SLICES_STUDY = f"{objects.ROOT}.1001.1"
GOAL_QIDO, GOAL_STUDY, GOAL_FRAMES, GOAL_STOW = 20.0, 3.0, 5.0, 3.0
STORED_AT_ONCE = 10
FRAMES_ACCEPT = 'multipart/related; type="application/octet-stream"'
STUDY_ACCEPT = 'multipart/related; type="application/dicom"; transfer-syntax=*'


@dataclass(frozen=True)
class Site:
    """A running server: loopback HTTP port and the path of its DICOMweb root."""

    http: int
    root: str
    dimse: int
    aet: str

    def get(self, path: str) -> tuple[float, list[object]]:
        """Milliseconds to the last byte, and the parsed answer."""
        connection = http.client.HTTPConnection("127.0.0.1", self.http, timeout=300)
        connection.connect()
        start = time.perf_counter()
        connection.request("GET", self.root + path, headers={"Accept": "application/dicom+json"})
        answer = connection.getresponse()
        content = answer.read()
        elapsed = (time.perf_counter() - start) * 1000
        connection.close()
        if answer.status != 200:
            raise RuntimeError(f"{path}: HTTP {answer.status}")
        return elapsed, json.loads(content)


@contextmanager
def ours(folder: Path) -> Iterator[Site]:
    """`isocenter serve` over what `folder` already holds."""
    dimse, web = peers.free_port(), peers.free_port()
    arguments = ["serve", "--data", folder / "isocenter", "--dimse", f"127.0.0.1:{dimse}"]
    with harness.isocenter(
        *arguments, "--http", f"127.0.0.1:{web}", "--aet", "BENCH", ports=[dimse, web], log=folder / "isocenter.log"
    ):
        yield Site(web, "/dicomweb", dimse, "BENCH")


@contextmanager
def orthanc(folder: Path) -> Iterator[Site]:
    """Orthanc over what `folder` already holds."""
    with peers.orthanc(folder / "orthanc", MaximumPduLength=131072) as peer:
        yield Site(int(peer.url.rpartition(":")[2]), "/dicom-web", peer.port, peer.aet)


Start = Callable[[Path], AbstractContextManager[Site]]


@contextmanager
def fresh(folder: Path, start: Start) -> Iterator[Site]:
    """A server on a copy of `folder`, so that what one round makes it prepare is not there for the next."""
    with tempfile.TemporaryDirectory(dir=folder.parent) as name:
        copy = Path(name) / "copy"
        shutil.copytree(folder, copy)
        with start(copy) as site:
            yield site


def cold(folder: Path, start: Start, path: str) -> float:
    """The first answer of a server just started."""
    with fresh(folder, start) as site:
        return _checked(site, path)


def warm(folder: Path, start: Start, path: str) -> float:
    """The median of some answers after the first."""
    with fresh(folder, start) as site:
        _checked(site, path)
        return statistics.median(_checked(site, path) for _ in range(REPEAT))


def _checked(site: Site, path: str) -> float:
    elapsed, entries = site.get(path)
    if len(entries) != INSTANCES:
        raise RuntimeError(f"{site.root}{path}: {len(entries)} entries and not {INSTANCES}")
    return elapsed


# --- rates


def _connect(site: Site) -> http.client.HTTPConnection:
    connection = http.client.HTTPConnection("127.0.0.1", site.http, timeout=600)
    connection.connect()
    return connection


def _ask(connection: http.client.HTTPConnection, path: str, accept: str) -> int:
    """Ask and read to the end; the bytes that came."""
    connection.request("GET", path, headers={"Accept": accept})
    answer = connection.getresponse()
    size = 0
    while piece := answer.read(1 << 20):
        size += len(piece)
    if answer.status != 200:
        raise RuntimeError(f"{path}: HTTP {answer.status}")
    return size


def study_rate(folder: Path, start: Start) -> float:
    """MB a second of a study as it is stored."""
    with start(folder) as site:
        connection = _connect(site)
        path = f"{site.root}/studies/{SLICES_STUDY}"
        rates = []
        for _ in range(REPEAT):
            begun = time.perf_counter()
            size = _ask(connection, path, STUDY_ACCEPT)
            rates.append(size / 1e6 / (time.perf_counter() - begun))
            if size < 200 * SLICES.size:
                raise RuntimeError(f"{path}: {size} bytes are not the study")
        return statistics.median(rates)


def each_slice(folder: Path, start: Start, resource: str, accept: str) -> float:
    """Answers a second, one slice after the other."""
    with start(folder) as site:
        _, found = site.get(f"/studies/{SLICES_STUDY}/instances?limit=1000")
        connection = _connect(site)
        study = f"{site.root}/studies/{SLICES_STUDY}"
        paths = [f"{study}/series/{_value(one, '0020000E')}/instances/{_value(one, '00080018')}" for one in found]
        for path in paths[:5]:
            _ask(connection, path + resource, accept)
        begun = time.perf_counter()
        for path in paths[5:]:
            _ask(connection, path + resource, accept)
        return (len(paths) - 5) / (time.perf_counter() - begun)


def _value(model: object, tag: str) -> str:
    assert isinstance(model, dict)
    return str(model[tag]["Value"][0])


def _post(connection: http.client.HTTPConnection, site: Site, files: Sequence[bytes]) -> None:
    boundary = secrets.token_hex(16)
    body = b"".join(
        f"--{boundary}\r\nContent-Type: application/dicom\r\n\r\n".encode() + one + b"\r\n" for one in files
    )
    body += f"--{boundary}--\r\n".encode()
    headers = {
        "Content-Type": f'multipart/related; type="application/dicom"; boundary={boundary}',
        "Accept": "application/dicom+json",
    }
    connection.request("POST", f"{site.root}/studies", body, headers)
    answer = connection.getresponse()
    told = json.loads(answer.read())
    if answer.status != 200 or len(told["00081199"]["Value"]) != len(files):
        raise RuntimeError(f"STOW-RS: HTTP {answer.status}")


def _file(size: int) -> bytes:
    data_set = objects.ct(size, 2, 0)
    output = BytesIO()
    data_set.save_as(output, enforce_file_format=True)
    return output.getvalue()


def stow_rate(folder: Path, start: Start, count: int = 100) -> float:
    """Objects of 512 KiB a second by STOW-RS, new ones each time."""
    one, uid = _file(512 * 1024), objects.instance_uid(2, 0).encode()
    first = secrets.randbelow(10**8) * 1000
    files = [
        one.replace(uid, objects.instance_uid(2, first + number).encode()) for number in range(count + STORED_AT_ONCE)
    ]
    with tempfile.TemporaryDirectory(dir=folder.parent) as name, start(Path(name)) as site:
        connection = _connect(site)
        _post(connection, site, files[count:])
        begun = time.perf_counter()
        for at in range(0, count, STORED_AT_ONCE):
            _post(connection, site, files[at : at + STORED_AT_ONCE])
        return count / (time.perf_counter() - begun)


def search_studies(folder: Path, start: Start, count: int) -> float:
    """Milliseconds of a search that finds `count` studies; they are stored first where they are not yet."""
    place = folder / f"studies-{count}"
    place.mkdir(exist_ok=True)
    with start(place) as site:
        filled = place / f"filled-{start.__name__}"
        if not filled.exists():
            _fill(site, count)
            filled.touch()
        times = []
        for _ in range(REPEAT):
            elapsed, found = site.get(f"/studies?limit={count}")
            if len(found) != count:
                raise RuntimeError(f"{site.root}/studies: {len(found)} entries and not {count}")
            times.append(elapsed)
        return statistics.median(times)


def _fill(site: Site, count: int) -> None:
    """So many studies of one small object each, of as many patients."""
    data_set = objects.ct(512, 2, 0)
    for at in range(0, count, 100):
        batch = []
        for number in range(at, min(at + 100, count)):
            data_set.StudyInstanceUID = f"{objects.ROOT}.1002.{number + 1}"
            data_set.SeriesInstanceUID = f"{data_set.StudyInstanceUID}.1"
            data_set.SOPInstanceUID = data_set.file_meta.MediaStorageSOPInstanceUID = f"{data_set.StudyInstanceUID}.1.1"
            data_set.PatientID = f"BENCH{number}"
            output = BytesIO()
            data_set.save_as(output, enforce_file_format=True)
            batch.append(output.getvalue())
        # One each: making the objects takes longer than a server waits for the next request.
        _post(_connect(site), site, batch)


def rates(folder: Path, studies: int) -> list[harness.Comparison]:
    """The rows that are not about the one study of 1,000 instances."""

    def row(
        name: str, unit: str, work: Callable[[Path, Start], float], goal: float | None, better: str
    ) -> harness.Comparison:
        theirs = {"Orthanc": lambda: work(folder, orthanc)}
        return harness.Comparison(name, unit, lambda: work(folder, ours), theirs, goal, better)

    frames = functools.partial(each_slice, resource="/frames/1", accept=FRAMES_ACCEPT)
    rendered = functools.partial(each_slice, resource="/rendered", accept="image/jpeg")
    found = functools.partial(search_studies, count=studies)
    return [
        row(f"QIDO-RS, {studies:,} studies", "ms", found, GOAL_QIDO, "lower"),
        row("study of 200 slices, 512 KiB each", "MB/s", study_rate, GOAL_STUDY, "higher"),
        row("single frames, 512 KiB", "per s", frames, GOAL_FRAMES, "higher"),
        row("rendered as JPEG, 512 by 512", "per s", rendered, None, "higher"),
        row("STOW-RS, 512 KiB", "per s", stow_rate, GOAL_STOW, "higher"),
    ]


def _prepare(folder: Path, load: sender.Load, batch: int, wanted: bool) -> None:
    """Store in both servers what rows that are wanted ask for."""
    for start in (ours, orthanc) if wanted else ():
        with start(folder) as site:
            sender.rate(site.dimse, site.aet, load, batch)


def main() -> None:
    """The command line."""
    parser = harness.arguments(__doc__)
    parser.add_argument("--studies", type=int, default=10_000, help="how many studies the search among them finds")
    options = parser.parse_args()
    harness.enter_private_network()
    requests = {
        "QIDO-RS, 1,000 instances": f"/studies/{STUDY}/instances?limit=1000",
        "metadata of 1,000 instances": f"/studies/{STUDY}/metadata",
    }
    with tempfile.TemporaryDirectory(prefix="isocenter-bench-", dir=options.folder) as name:
        folder = Path(name)
        comparisons = [
            harness.Comparison(
                f"{what}, {state}",
                "ms",
                lambda ask=ask, path=path: ask(folder, ours, path),
                {"Orthanc": lambda ask=ask, path=path: ask(folder, orthanc, path)},
                goal,
                "lower",
            )
            for what, path in requests.items()
            for state, ask, goal in (("cold", cold, GOAL_COLD), ("warm", warm, GOAL_WARM))
        ]
        others = rates(folder, options.studies)
        _prepare(folder, LOAD, 0, any(options.only in one.name for one in comparisons))
        _prepare(folder, SLICES, SLICES_BATCH, any(options.only in one.name for one in others[1:4]))
        comparisons += others
        harness.run("dicomweb", "DICOMweb", comparisons, options, folder)


if __name__ == "__main__":
    main()
