"""Other people's DICOM software, started and stopped for tests and benchmarks.

Each peer is a context manager: it picks a free loopback port, starts the program, waits until it really listens, and
ends it by its process id. A program that is not installed skips the test with the line that installs it; with
ISOCENTER_REQUIRE_PEERS=1 (continuous integration) it fails the test instead. Peers that listen on every interface
refuse to start outside a private network (private_network.py); pytest and the bench harness enter one at the start.

TCP_NODELAY=1 is in the environment of every peer: without it DCMTK and Orthanc wait 44 ms an object for the
delayed acknowledgement of Linux, and no comparison with them would be fair.
"""

from __future__ import annotations

import itertools
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import private_network
from leash import leashed

REQUIRE = os.environ.get("ISOCENTER_REQUIRE_PEERS") == "1"

PACKAGES = {
    "storescp": "dcmtk",
    "storescu": "dcmtk",
    "echoscu": "dcmtk",
    "findscu": "dcmtk",
    "movescu": "dcmtk",
    "getscu": "dcmtk",
    "dcmqrscp": "dcmtk",
    "dcmftest": "dcmtk",
    "dcmdump": "dcmtk",
    "dcm2json": "dcmtk",
    "dcmmkdir": "dcmtk",
    "dcdirdmp": "dicom3tools",
    "dcm2niix": "dcm2niix",
    "ffmpeg": "ffmpeg",
    "ffprobe": "ffmpeg",
    "dcmcjpeg": "dcmtk",
    "dcmcrle": "dcmtk",
    "dcmcjpls": "dcmtk",
    "dcmdjpeg": "dcmtk",
    "dcmdrle": "dcmtk",
    "dcmdjpls": "dcmtk",
    "gdcmconv": "libgdcm-tools",
    "Orthanc": "orthanc orthanc-dicomweb",
    "dciodvfy": "dicom3tools",
    "odil": "odil python3-odil",
    "openssl": "openssl",
    "strace": "strace",
    "chromium": "chromium fonts-noto-cjk",
    "mkfs.ext4": "e2fsprogs",
    "losetup": "mount",
}
# Not the folder of our own Python: pynetdicom puts programs named storescu, echoscu, ... there
_FOLDERS = [name for name in os.environ.get("PATH", "").split(":") if name != str(Path(sys.executable).parent)]
ENVIRONMENT = {**os.environ, "TCP_NODELAY": "1", "PATH": ":".join([*_FOLDERS, "/usr/sbin", "/sbin"])}
ORTHANC_DICOMWEB = (
    Path("/usr/share/orthanc/plugins/libOrthancDicomWeb.so"),
    Path("/usr/lib/orthanc/libOrthancDicomWeb.so"),
)


class PeerUnavailable(Exception):
    """A peer is not installed, or this machine cannot run it; conftest turns it into a skip or a failure."""

    def __init__(self, message: str, *, missing: bool) -> None:
        self.missing = missing
        super().__init__(message)


class PeerFailed(Exception):
    """A peer ended, or did not listen in time; the message holds the end of its output."""


# --- what is there --------------------------------------------------------------------------------------------------


def find_program(name: str) -> str | None:
    """Path of a program; /usr/sbin counts even where PATH lacks it."""
    return shutil.which(name, path=ENVIRONMENT["PATH"])


def require(*programs: str) -> None:
    """Raise PeerUnavailable unless all programs are installed."""
    absent = [program for program in programs if find_program(program) is None]
    if absent:
        packages = " ".join(dict.fromkeys(PACKAGES.get(program, program) for program in absent))
        message = f"{', '.join(absent)} not installed: apt-get install {packages}"
        raise PeerUnavailable(message, missing=True)


def require_private_network() -> None:
    """Raise PeerUnavailable unless this process runs in a private network (entered now if that is still possible)."""
    reason = private_network.enter()
    if reason is not None:
        raise PeerUnavailable(
            f"the peer listens on every interface and there is no private network ({reason})", missing=False
        )


_turn = itertools.count(os.getpid())  # processes that share a network do not begin alike


def free_port() -> int:
    """A loopback TCP port on which nobody listens and which was not given out before. It is below those that the kernel
    takes itself (ip_local_port_range), or any connection might have it before whoever asked listens there."""
    while True:
        port = 20_000 + next(_turn) % 12_000
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


# --- processes ------------------------------------------------------------------------------------------------------


def is_listening(pid: int, port: int) -> bool:
    """Whether a TCP socket listens on `port` in the network of process `pid`; asks the kernel, connects to nobody."""
    for table in ("tcp", "tcp6"):
        try:
            lines = Path(f"/proc/{pid}/net/{table}").read_text().splitlines()[1:]
        except OSError:
            continue
        for line in lines:
            _, local, _, state, *_ = line.split()
            if state == "0A" and int(local.rpartition(":")[2], 16) == port:
                return True
    return False


@dataclass(frozen=True)
class Running:
    """A process that was started here. `log` collects stdout and stderr."""

    process: subprocess.Popen[bytes]
    log: Path

    @property
    def pid(self) -> int:
        return self.process.pid

    def output(self) -> str:
        return self.log.read_text(errors="replace")

    def resident_bytes(self) -> int:
        """Resident set size now (VmRSS)."""
        for line in Path(f"/proc/{self.pid}/status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                return int(line.split()[1]) * 1024
        raise PeerFailed("the process has ended")


def wait_until(ready: Callable[[], bool], server: Running, timeout: float) -> None:
    """Poll `ready` until it is true. Raises PeerFailed when the process ends or time is up."""
    deadline = time.monotonic() + timeout
    while not ready():
        if server.process.poll() is not None:
            raise PeerFailed(f"ended with {server.process.returncode}:\n{server.output()[-2000:]}")
        if time.monotonic() > deadline:
            raise PeerFailed(f"not ready after {timeout:g} s:\n{server.output()[-2000:]}")
        time.sleep(0.01)


@contextmanager
def running(
    argv: Sequence[str | Path],
    *,
    log: Path,
    ports: Sequence[int] = (),
    environment: dict[str, str] | None = None,
    timeout: float = 60.0,
) -> Iterator[Running]:
    """Start a server, wait until it listens on all `ports`, and end it (SIGTERM, after ten seconds SIGKILL)."""
    with log.open("ab") as output:
        process = subprocess.Popen(
            leashed(argv),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env={**ENVIRONMENT, **(environment or {})},
            start_new_session=True,
        )
    server = Running(process, log)
    try:
        wait_until(lambda: all(is_listening(process.pid, port) for port in ports), server, timeout)
        yield server
    finally:
        stop(process)


def stop(process: subprocess.Popen[bytes], timeout: float = 10.0) -> None:
    """End a process and the children in its own session."""
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(timeout)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
    try:
        os.killpg(process.pid, signal.SIGKILL)  # storescp --fork leaves its children behind
    except ProcessLookupError:
        return


def run(
    program: str, *arguments: str | Path, timeout: float = 120.0, check: bool = True
) -> subprocess.CompletedProcess[str]:
    """Run an SCU or another tool to its end, stderr merged into stdout; with `check`, PeerFailed unless that is 0."""
    require(program)
    done = subprocess.run(
        [find_program(program) or program, *map(str, arguments)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env=ENVIRONMENT,
        timeout=timeout,
        text=True,
        errors="replace",
        check=False,
    )
    if check and done.returncode != 0:
        raise PeerFailed(f"{program} ended with {done.returncode}:\n{done.stdout[-4000:]}")
    return done


# --- DCMTK ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class DicomPeer:
    """A listening Storage or Query/Retrieve SCP. `folder` is where it keeps what it receives."""

    aet: str
    port: int
    folder: Path
    server: Running

    @property
    def address(self) -> str:
        """AET@HOST:PORT, as our command line takes it."""
        return f"{self.aet}@127.0.0.1:{self.port}"


@contextmanager
def storescp(folder: Path, *options: str, aet: str = "STORESCP", port: int = 0) -> Iterator[DicomPeer]:
    """DCMTK's Storage SCP writing to `folder`. Options are its own: "+B" (bit preserving), "--fork", "+xa", ...

    Without `port` it listens on a free one.
    """
    require("storescp")
    require_private_network()
    folder.mkdir(parents=True, exist_ok=True)
    port = port or free_port()
    argv = [find_program("storescp") or "", "-aet", aet, "-od", folder, *options, str(port)]
    with running(argv, log=folder.parent / f"storescp-{port}.log", ports=[port]) as server:
        yield DicomPeer(aet, port, folder, server)


@contextmanager
def dcmqrscp(
    folder: Path, *options: str, aet: str = "DCMQRSCP", destinations: dict[str, int] | None = None
) -> Iterator[DicomPeer]:
    """DCMTK's Query/Retrieve SCP with one storage area. `destinations` are AE titles and loopback ports for C-MOVE."""
    require("dcmqrscp")
    require_private_network()
    area = folder / "area"
    area.mkdir(parents=True, exist_ok=True)
    port = free_port()
    hosts = "\n".join(f"d{n} = ({name}, 127.0.0.1, {to})" for n, (name, to) in enumerate((destinations or {}).items()))
    configuration = folder / "dcmqrscp.cfg"
    configuration.write_text(
        f"NetworkTCPPort = {port}\nMaxPDUSize = 131072\nMaxAssociations = 16\n"
        f"HostTable BEGIN\n{hosts}\nHostTable END\n"
        "VendorTable BEGIN\nVendorTable END\n"
        f"AETable BEGIN\n{aet} {area} RW (1000, 16gb) ANY\nAETable END\n"
    )
    argv = [find_program("dcmqrscp") or "", "-c", configuration, *options]
    with running(argv, log=folder / "dcmqrscp.log", ports=[port]) as server:
        yield DicomPeer(aet, port, area, server)


# --- Orthanc --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class OrthancPeer:
    """A running Orthanc. `url` has no final slash; DICOMweb is below `dicomweb`."""

    aet: str
    port: int
    url: str
    folder: Path
    server: Running

    @property
    def address(self) -> str:
        return f"{self.aet}@127.0.0.1:{self.port}"

    @property
    def dicomweb(self) -> str:
        return self.url + "/dicom-web"

    def request(self, path: str, body: Any = None, method: str | None = None, timeout: float = 120.0) -> Any:
        """Orthanc's REST API: JSON in, JSON out (bytes where the answer is not JSON)."""
        data = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
        request = urllib.request.Request(self.url + path, data=data, method=method)
        with urllib.request.urlopen(request, timeout=timeout) as answer:
            content = answer.read()
            return json.loads(content) if "json" in answer.headers.get("Content-Type", "") else content


@contextmanager
def orthanc(
    folder: Path,
    *,
    aet: str = "ORTHANC",
    modalities: dict[str, tuple[str, int]] | None = None,
    port: int = 0,
    **configuration: Any,
) -> Iterator[OrthancPeer]:
    """Orthanc with the DICOMweb plugin, its defaults but for addresses, folders and who may do what.

    `modalities` maps a name to (AE title, loopback port); more configuration overrides what is set here.
    """
    require("Orthanc")
    plugin = next((path for path in ORTHANC_DICOMWEB if path.exists()), None)
    if plugin is None:
        raise PeerUnavailable("Orthanc's DICOMweb plugin not installed: apt-get install orthanc-dicomweb", missing=True)
    require_private_network()
    folder.mkdir(parents=True, exist_ok=True)
    dicom_port, http_port = port or free_port(), free_port()
    settings = {
        "Name": aet,
        "StorageDirectory": str(folder / "storage"),
        "IndexDirectory": str(folder / "storage"),
        "Plugins": [str(plugin)],
        "HttpPort": http_port,
        "RemoteAccessAllowed": False,
        "AuthenticationEnabled": False,
        "DicomAet": aet,
        "DicomPort": dicom_port,
        "DicomAlwaysAllowEcho": True,
        "DicomAlwaysAllowStore": True,
        "DicomAlwaysAllowFind": True,
        "DicomAlwaysAllowGet": True,
        "DicomAlwaysAllowMove": True,
        "UnknownSopClassAccepted": True,
        "DicomModalities": {
            name: {"AET": title, "Host": "127.0.0.1", "Port": port}
            for name, (title, port) in (modalities or {}).items()
        },
        "DicomWeb": {"Enable": True, "Root": "/dicom-web/"},
        **configuration,
    }
    file = folder / "orthanc.json"
    file.write_text(json.dumps(settings, indent=1))
    argv = [find_program("Orthanc") or "", file]
    with running(argv, log=folder / "orthanc.log", ports=[dicom_port, http_port]) as server:
        peer = OrthancPeer(aet, dicom_port, f"http://127.0.0.1:{http_port}", folder, server)
        wait_until(lambda: _answers(peer.url + "/system"), server, 60.0)
        yield peer


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=30) as answer:
            return bool(answer.status == 200)
    except urllib.error.HTTPError as error:
        with error:
            return error.code == 401  # it is there, and wants to know who asks
    except (urllib.error.URLError, OSError):
        return False


# --- pynetdicom -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Received:
    """One object as pynetdicom's SCP got it: the data set's bytes, untouched."""

    sop_class: str
    sop_instance: str
    transfer_syntax: str
    data_set: bytes
    originator: tuple[str | None, int | None] = (None, None)  # of a C-MOVE: AE title and Message ID


@contextmanager
def pynetdicom_scp(
    *, aet: str = "PYNETDICOM", status: int = 0x0000, transfer_syntaxes: Sequence[str] | None = None
) -> Iterator[tuple[str, list[Received]]]:
    """A Storage and Verification SCP in this process, on loopback. Yields its AET@HOST:PORT and what it has received.

    Every C-STORE is answered with `status`.
    """
    try:
        from pynetdicom import AE, ALL_TRANSFER_SYNTAXES, AllStoragePresentationContexts, evt
        from pynetdicom.presentation import NonPatientObjectPresentationContexts
    except ImportError as error:
        raise PeerUnavailable("pynetdicom not installed: pip install '.[test]'", missing=True) from error
    received: list[Received] = []

    def on_store(event: Any) -> int:
        request = event.request
        received.append(
            Received(
                str(request.AffectedSOPClassUID),
                str(request.AffectedSOPInstanceUID),
                str(event.context.transfer_syntax),
                request.DataSet.getvalue(),
                (request.MoveOriginatorApplicationEntityTitle, request.MoveOriginatorMessageID),
            )
        )
        return status

    entity = AE(ae_title=aet)
    entity.maximum_pdu_size = 0
    for context in (*AllStoragePresentationContexts, *NonPatientObjectPresentationContexts):
        entity.add_supported_context(context.abstract_syntax, list(transfer_syntaxes or ALL_TRANSFER_SYNTAXES))
    entity.add_supported_context("1.2.840.10008.1.1")
    server = entity.start_server(("127.0.0.1", 0), block=False, evt_handlers=[(evt.EVT_C_STORE, on_store)])
    try:
        yield f"{aet}@127.0.0.1:{server.socket.getsockname()[1]}", received
    finally:
        server.shutdown()
