"""C-GET and C-MOVE of 400 CT images of 512 KiB: `isocenter serve` beside Orthanc and DCMTK's dcmqrscp.

Each holds the same study, stored by the same sender before, and is started once for all rounds. The requestor of C-GET
(asker.py) acknowledges each object at once and throws it away; so does the receiver of C-MOVE, a process of its own for
each association, which is there before. Objects go in Explicit VR Little Endian, as all three hold them, with PDUs as
large as each sends them (the largest that Orthanc and dcmqrscp can be told). Orthanc checks no digests
(StoreMD5ForAttachments) and has one C-MOVE thread, both its defaults in what matters here; dcmqrscp forks a process for
each association.

Who receives takes a good part of the machine for itself, whoever sends. In the rows "server alone" it has the kernel
throw the data sets away unread, so that what is measured is the server and little else. "null SCP" (null_get.py) is
the most that the requestor takes of any server.
"""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import asker
import harness
import null_get
import objects
import sender
from harness import peers

COUNT, SIZE = 400, 512 * 1024
NULL = "null SCP"  # null_get.py: what the requestor takes of whoever has nothing to do
GOALS = {"Orthanc": 4.0, "dcmqrscp": 1.5}
LOAD = sender.Load(SIZE, COUNT - 10, 1)  # ten more warm the sender up
STUDY = f"{objects.ROOT}.1000.1"
KEYS = asker.identifier({0x00080052: ("CS", "STUDY"), 0x0020000D: ("UI", STUDY)})
CT = objects.CT_IMAGE_STORAGE


def got(port: int, aet: str, reader: type[asker.Reader] = asker.Reader) -> float:
    """Objects a second by C-GET."""
    contexts = [asker.Context(asker.STUDY_GET), asker.Context(CT, scp=True)]
    association = asker.Asker(port, aet, contexts, reader=reader)
    count, seconds = association.get(KEYS)
    association.release()
    return _rate(count, seconds)


def moved(port: int, aet: str, destination: str = "RECEIVER") -> float:
    """Objects a second by C-MOVE."""
    association = asker.Asker(port, aet, [asker.Context(asker.STUDY_MOVE)])
    count, seconds = association.move(KEYS, destination)
    association.release()
    return _rate(count, seconds)


def _rate(count: int, seconds: float) -> float:
    if count != COUNT:
        raise RuntimeError(f"{count} objects instead of {COUNT}")
    return count / seconds


@contextlib.contextmanager
def isocenter(folder: Path, receivers: dict[str, int]) -> Iterator[tuple[int, str]]:
    """`isocenter serve` with the study."""
    dimse, http = peers.free_port(), peers.free_port()
    config = folder / "isocenter.toml"
    rows = (f'name = "{aet}"\naet = "{aet}"\nhost = "127.0.0.1"\nport = {port}' for aet, port in receivers.items())
    config.write_text("\n".join(f"[[peer]]\n{row}" for row in rows))
    arguments = ["serve", "--data", folder / "data", "--dimse", f"127.0.0.1:{dimse}", "--http", f"127.0.0.1:{http}"]
    arguments += ["--aet", "BENCH", "--config", config]
    with harness.isocenter(*arguments, ports=[dimse, http], log=folder / "isocenter.log"):
        sender.rate(dimse, "BENCH", LOAD)
        yield dimse, "BENCH"


@contextlib.contextmanager
def orthanc(folder: Path, receivers: dict[str, int]) -> Iterator[tuple[int, str]]:
    """Orthanc with the study."""
    modalities = {aet.lower(): (aet, port) for aet, port in receivers.items()}
    with peers.orthanc(folder / "orthanc", modalities=modalities, MaximumPduLength=131072) as peer:
        sender.rate(peer.port, peer.aet, LOAD)
        yield peer.port, peer.aet


@contextlib.contextmanager
def dcmqrscp(folder: Path, receivers: dict[str, int]) -> Iterator[tuple[int, str]]:
    """dcmqrscp with the study."""
    with peers.dcmqrscp(folder / "dcmqrscp", destinations=receivers) as peer:
        sender.rate(peer.port, peer.aet, LOAD)
        yield peer.port, peer.aet


def comparisons(places: dict[str, tuple[int, str]]) -> Iterator[harness.Comparison]:
    """A row for each service and peer, as the goals differ."""
    services: dict[str, Callable[[int, str], float]] = {
        "C-GET": got,
        "C-MOVE": moved,
        "C-GET, server alone": partial(got, reader=asker.Dropper),
        "C-MOVE, server alone": partial(moved, destination="DROPPER"),
    }
    for name, service in services.items():
        for peer, goal in GOALS.items():
            yield harness.Comparison(
                f"{name}, beside {peer}",
                "objects/s",
                lambda service=service: service(*places["isocenter"]),
                {peer: lambda service=service, peer=peer: service(*places[peer])},
                goal,
                bounds={NULL: lambda service=service: service(*places[NULL])} if name.startswith("C-GET") else {},
            )


def main() -> None:
    """The command line."""
    options = harness.arguments(__doc__).parse_args()
    harness.enter_private_network()
    with (
        tempfile.TemporaryDirectory(prefix="isocenter-bench-", dir=options.folder) as name,
        contextlib.ExitStack() as stack,
    ):
        folder, receivers = Path(name), {"RECEIVER": peers.free_port(), "DROPPER": peers.free_port()}
        stack.enter_context(asker.receiver(receivers["RECEIVER"]))
        stack.enter_context(asker.receiver(receivers["DROPPER"], asker.Dropper))
        places = {
            "isocenter": stack.enter_context(isocenter(folder, receivers)),
            "Orthanc": stack.enter_context(orthanc(folder, receivers)),
            "dcmqrscp": stack.enter_context(dcmqrscp(folder, receivers)),
            NULL: (peers.free_port(), NULL),
        }
        stack.enter_context(null_get.null_scp(places[NULL][0], SIZE, COUNT))
        harness.run("retrieve", "C-GET and C-MOVE", list(comparisons(places)), options, folder)


if __name__ == "__main__":
    main()
