"""DICOMweb: `isocenter serve` beside Orthanc with its DICOMweb plugin.

Both hold the same objects. "Cold" is the first request of all to a server just started on a copy of an archive that was
never asked before, and "warm" the same request repeated. There the client is http.client without compression, the
clock stops when the last byte is there, and every answer is parsed afterwards and must have as many entries as there
are. The archives are filled once and both servers run through all rounds of the other rows.

A study is one of 512 KiB slices as it is stored, read to its end by a client that keeps nothing; in the row "server
alone" it has the kernel throw the bytes away instead of copying them. "null server" (null_web.py) is what the same
client takes of one that does nothing but send as many bytes. Frames and renderings are of one slice after the
other on one connection, medians of their times. STOW-RS stores ten new objects in a request, ours with its durability.
Fifty clients at once ask for the study, and what memory the server takes at most meanwhile is a row of its own.
"""

from __future__ import annotations

import http.client
import json
import secrets
import shutil
import statistics
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from io import BytesIO
from pathlib import Path
from typing import Any

import harness
import objects
import sender
from harness import peers
from null_web import null_web
from web_asker import Asker, crowd, multipart

THOUSAND = sender.Load(39 * 1024, 990, 1)
INSTANCES = 1000  # with the ten that warm the sender up
STUDY = f"{objects.ROOT}.1000.1"
SLICES = sender.Load(512 * 1024, 90, 1)
SLICES_BATCH, SLICES_COUNT = 1, 100
SLICES_STUDY = f"{objects.ROOT}.1001.1"
CLIENTS = 50
STORED, STORED_AT_ONCE = 100, 10
FRAMES_ACCEPT = 'multipart/related; type="application/octet-stream"'
STUDY_ACCEPT = 'multipart/related; type="application/dicom"; transfer-syntax=*'
JSON = "application/dicom+json"
AT_LEAST = 1.0  # seconds for which a warm request is repeated, up to REPEAT times
REPEAT = 5
STUDY_REPEAT = 20  # of a study, which takes hundredths of a second
GOALS = {"QIDO": 20.0, "metadata, cold": 3.0, "metadata, warm": 30.0, "study": 3.0, "frames": 5.0, "STOW": 3.0}


@dataclass(frozen=True)
class Site:
    """A running server: loopback HTTP port and the path of its DICOMweb root, DIMSE port and title, process."""

    http: int
    root: str
    dimse: int
    aet: str
    process: peers.Running

    def get(self, path: str, entries: int) -> float:
        """Milliseconds to the last byte of an answer with so many entries."""
        connection = http.client.HTTPConnection("127.0.0.1", self.http, timeout=300)
        connection.connect()
        start = time.perf_counter()
        connection.request("GET", self.root + path, headers={"Accept": JSON})
        answer = connection.getresponse()
        content = answer.read()
        elapsed = (time.perf_counter() - start) * 1000
        connection.close()
        found = json.loads(content) if answer.status == 200 else []
        if len(found) != entries:
            raise RuntimeError(f"{path}: HTTP {answer.status}, {len(found)} entries and not {entries}")
        return elapsed

    def paths(self) -> list[str]:
        """Of the slices."""
        one = http.client.HTTPConnection("127.0.0.1", self.http, timeout=300)
        one.request("GET", f"{self.root}/studies/{SLICES_STUDY}/instances?limit=1000", headers={"Accept": JSON})
        found = json.loads(one.getresponse().read())
        one.close()
        study = f"{self.root}/studies/{SLICES_STUDY}"
        return [f"{study}/series/{_value(each, '0020000E')}/instances/{_value(each, '00080018')}" for each in found]


def _value(model: Any, tag: str) -> str:
    return str(model[tag]["Value"][0])


@contextmanager
def ours(folder: Path, *, filling: bool = False) -> Iterator[Site]:
    """`isocenter serve` over what `folder` already holds."""
    dimse, web = peers.free_port(), peers.free_port()
    arguments = ["serve", "--data", folder / "isocenter", "--dimse", f"127.0.0.1:{dimse}"]
    with harness.isocenter(
        *arguments, "--http", f"127.0.0.1:{web}", "--aet", "BENCH", ports=[dimse, web], log=folder / "isocenter.log"
    ) as server:
        yield Site(web, "/dicomweb", dimse, "BENCH", server)


@contextmanager
def orthanc(folder: Path, *, filling: bool = False) -> Iterator[Site]:
    """Orthanc over what `folder` already holds; what it is filled with need not be on the disk at once."""
    more = {"SyncStorageArea": False} if filling else {}
    with peers.orthanc(folder / "orthanc", MaximumPduLength=131072, **more) as peer:
        yield Site(int(peer.url.rpartition(":")[2]), "/dicom-web", peer.port, peer.aet, peer.server)


CONTENDERS: dict[str, Callable[..., AbstractContextManager[Site]]] = {"isocenter": ours, "Orthanc": orthanc}


# --- what is asked


@dataclass(frozen=True)
class Request:
    """A search or metadata whose answer has so many entries."""

    path: str
    entries: int

    def cold(self, site: Site) -> float:
        """Milliseconds of the first answer of all."""
        return site.get(self.path, self.entries)

    def warm(self, site: Site) -> float:
        """The median of some answers after the first."""
        self.cold(site)
        return _repeated(lambda: site.get(self.path, self.entries))


def _repeated(work: Callable[[], float], most: int = REPEAT) -> float:
    """The median over a second or so."""
    figures, begun = [], time.perf_counter()
    while len(figures) < most and (not figures or time.perf_counter() - begun < AT_LEAST):
        figures.append(work())
    return statistics.median(figures)


def study(port: int, root: str, *, discard: bool) -> float:
    """MB a second."""
    asker, path = Asker(port), f"{root}/studies/{SLICES_STUDY}"

    def once() -> float:
        begun = time.perf_counter()
        size = asker.get(path, STUDY_ACCEPT, discard=discard)
        if size < SLICES_COUNT * SLICES.size:
            raise RuntimeError(f"{path}: {size} bytes are not the study")
        return size / 1e6 / (time.perf_counter() - begun)

    once()
    rate = _repeated(once, STUDY_REPEAT)
    asker.close()
    return rate


def each_slice(site: Site, resource: str, accept: str) -> float:
    """Milliseconds to the last byte, the median of all slices."""
    asker, paths, times = Asker(site.http), site.paths(), []
    for path in paths[:5] + paths:
        begun = time.perf_counter()
        asker.get(path + resource, accept)
        times.append(time.perf_counter() - begun)
    asker.close()
    return statistics.median(times[5:]) * 1000


def stow(site: Site) -> float:
    """Objects of 512 KiB a second, new ones each time."""
    asker, first = Asker(site.http), secrets.randbelow(10**8) * 1000
    one, uid = _file(objects.ct(512 * 1024, 2, 0)), objects.instance_uid(2, 0).encode()
    numbers = range(first, first + STORED + STORED_AT_ONCE)
    files = [one.replace(uid, objects.instance_uid(2, number).encode()) for number in numbers]
    _store(asker, site, files[STORED:])
    begun = time.perf_counter()
    for at in range(0, STORED, STORED_AT_ONCE):
        _store(asker, site, files[at : at + STORED_AT_ONCE])
    elapsed = time.perf_counter() - begun
    asker.close()
    return STORED / elapsed


def _store(asker: Asker, site: Site, files: list[bytes]) -> None:
    boundary = secrets.token_hex(16)
    kind = f'multipart/related; type="application/dicom"; boundary={boundary}'
    asker.post(f"{site.root}/studies", kind, JSON, multipart(files, boundary))


def many(site: Site) -> tuple[float, float]:
    """MB a second of all clients together, and the most MiB the server took meanwhile."""
    status = Path(f"/proc/{site.process.pid}")
    (status / "clear_refs").write_text("5\n")  # the peak begins anew (proc(5))
    path = f"{site.root}/studies/{SLICES_STUDY}"
    seconds, size = crowd(site.http, path, STUDY_ACCEPT, CLIENTS)
    if size < CLIENTS * SLICES_COUNT * SLICES.size:
        raise RuntimeError(f"{path}: {size} bytes are not the study for everybody")
    (peak,) = (line.split()[1] for line in (status / "status").read_text().splitlines() if line.startswith("VmHWM:"))
    return size / 1e6 / seconds, int(peak) / 1024


# --- what is there


def _file(data_set: Any) -> bytes:
    output = BytesIO()
    data_set.save_as(output, enforce_file_format=True)
    return output.getvalue()


def _fill_studies(site: Site, count: int) -> None:
    """So many studies of one small object each, of as many patients; by several clients."""
    data_set = objects.ct(512, 2, 0)
    study = f"{objects.ROOT}.1002.{10**11}"
    data_set.StudyInstanceUID, data_set.SeriesInstanceUID = study, f"{study}.1"
    data_set.SOPInstanceUID = data_set.file_meta.MediaStorageSOPInstanceUID = f"{study}.1.1"
    data_set.PatientID = "B00000"
    one = _file(data_set)
    made = [
        one.replace(study.encode(), f"{objects.ROOT}.1002.{10**11 + number}".encode()).replace(
            b"B00000", b"B%05d" % number
        )
        for number in range(count)
    ]
    batches = [made[at : at + 50] for at in range(0, count, 50)]
    failed: list[Exception] = []

    def store_some(own: list[list[bytes]]) -> None:
        asker = Asker(site.http)
        try:
            for batch in own:
                _store(asker, site, batch)
        except (RuntimeError, OSError) as error:
            failed.append(error)
        asker.close()

    threads = [threading.Thread(target=store_some, args=(batches[at::4],)) for at in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failed:
        raise failed[0]


class Archives:
    """The archives of both contenders, each filled when first asked for, and servers that run until the end."""

    def __init__(self, folder: Path, studies: int, running: ExitStack) -> None:
        self._folder, self._studies, self._running = folder, studies, running
        self._sites: dict[str, Site] = {}
        self._crowds: dict[str, list[float]] = {}
        self._null: int | None = None

    def _filled(self, name: str, kind: str, fill: Callable[[Site], object]) -> Path:
        place = self._folder / kind / name
        if not place.exists():
            place.mkdir(parents=True)
            with CONTENDERS[name](place, filling=True) as site:
                fill(site)
        return place

    def fresh(self, name: str, work: Callable[[Site], float]) -> float:
        """`work` on a server just started on a copy: what one round has it prepare is not there for the next."""
        place = self._filled(name, "thousand", lambda site: sender.rate(site.dimse, site.aet, THOUSAND))
        with tempfile.TemporaryDirectory(dir=self._folder) as other:
            copy = Path(other) / "copy"
            shutil.copytree(place, copy)
            with CONTENDERS[name](copy) as site:
                return work(site)

    def running(self, name: str, work: Callable[[Site], float]) -> float:
        """`work` on the server that runs until the end."""
        if name not in self._sites:
            place = self._filled(name, "large", self._fill)
            self._sites[name] = self._running.enter_context(CONTENDERS[name](place))
        return work(self._sites[name])

    def null(self, work: Callable[[int], float]) -> float:
        """`work` on a server that has nothing to do, by its port."""
        if self._null is None:
            self._null = peers.free_port()
            self._running.enter_context(null_web(self._null, SLICES.size, SLICES_COUNT, self._folder))
        return work(self._null)

    def _fill(self, site: Site) -> None:
        _fill_studies(site, self._studies)
        sender.rate(site.dimse, site.aet, SLICES, SLICES_BATCH)

    def crowd_rate(self, name: str) -> float:
        """MB a second to fifty clients; the memory is kept for the next row."""

        def work(site: Site) -> float:
            rate, peak = many(site)
            self._crowds.setdefault(name, []).append(peak)
            return rate

        return self.running(name, work)

    def crowd_memory(self, name: str) -> float:
        """The peak of a crowd that was measured, or of a new one."""
        if not self._crowds.get(name):
            self.crowd_rate(name)
        return self._crowds[name].pop(0)


def comparisons(archives: Archives, studies: int) -> list[harness.Comparison]:
    """All rows."""

    def row(
        name: str, unit: str, work: Callable[[str], float], goal: str = "", bound: harness.Round | None = None
    ) -> harness.Comparison:
        better = "higher" if unit in ("MB/s", "per s") else "lower"
        ours_, *others = [(each, lambda each=each: work(each)) for each in CONTENDERS]
        bounds = {} if bound is None else {"null server": bound}
        return harness.Comparison(name, unit, ours_[1], dict(others), GOALS.get(goal), better, bounds)

    def fresh(work: Callable[[Site], float]) -> Callable[[str], float]:
        return lambda name: archives.fresh(name, work)

    def running(work: Callable[[Site], float]) -> Callable[[str], float]:
        return lambda name: archives.running(name, work)

    def whole_study(name: str, *, discard: bool) -> harness.Comparison:
        def work(site: Site) -> float:
            return study(site.http, site.root, discard=discard)

        return row(
            name, "MB/s", running(work), "study", lambda: archives.null(partial(study, root="", discard=discard))
        )

    instances = Request(f"/studies/{STUDY}/instances?limit=1000", INSTANCES)
    metadata = Request(f"/studies/{STUDY}/metadata", INSTANCES)
    found = Request(f"/studies?limit={studies}", studies)
    frames = partial(each_slice, resource="/frames/1", accept=FRAMES_ACCEPT)
    rendered = partial(each_slice, resource="/rendered", accept="image/jpeg")
    return [
        row("QIDO-RS, 1,000 instances, cold", "ms", fresh(instances.cold), "QIDO"),
        row("QIDO-RS, 1,000 instances, warm", "ms", fresh(instances.warm), "QIDO"),
        row(f"QIDO-RS, {studies:,} studies", "ms", running(lambda site: _repeated(lambda: found.cold(site))), "QIDO"),
        row("metadata of 1,000 instances, cold", "ms", fresh(metadata.cold), "metadata, cold"),
        row("metadata of 1,000 instances, warm", "ms", fresh(metadata.warm), "metadata, warm"),
        whole_study("study of 100 slices, 512 KiB each", discard=False),
        whole_study("study, server alone", discard=True),
        row("study to 50 clients at once, server alone", "MB/s", archives.crowd_rate),
        row("most memory meanwhile", "MiB", archives.crowd_memory),
        row("single frames, 512 KiB", "ms", running(frames), "frames"),
        row("rendered as JPEG, 512 by 512", "ms", running(rendered)),
        row("STOW-RS, 512 KiB", "per s", running(stow), "STOW"),
    ]


def main() -> None:
    """The command line."""
    parser = harness.arguments(__doc__)
    parser.add_argument("--studies", type=int, default=10_000, help="how many studies the search among them finds")
    options = parser.parse_args()
    harness.enter_private_network()
    with tempfile.TemporaryDirectory(prefix="isocenter-bench-", dir=options.folder) as name, ExitStack() as servers:
        folder = Path(name)
        rows = comparisons(Archives(folder, options.studies, servers), options.studies)
        harness.run("dicomweb", "DICOMweb", rows, options, folder)


if __name__ == "__main__":
    main()
