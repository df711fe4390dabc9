"""C-GET and C-MOVE of 400 CT images of 512 KiB: `isocenter serve` beside Orthanc and DCMTK's dcmqrscp.

Each holds the same study, stored by the same sender before, and is started once for all rounds. The requestor of C-GET
(asker.py) acknowledges each object at once and throws it away; so does the receiver of C-MOVE, a process of its own for
each association. Objects go in Explicit VR Little Endian, as all three hold them, with PDUs as large as each sends
them (the largest that Orthanc and dcmqrscp can be told). Orthanc checks no digests (StoreMD5ForAttachments) and has
one C-MOVE thread, both its defaults in what matters here; dcmqrscp forks a process for each association.
"""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import asker
import harness
import objects
import sender
from harness import peers

COUNT, SIZE = 400, 512 * 1024
GOALS = {"Orthanc": 4.0, "dcmqrscp": 1.5}
LOAD = sender.Load(SIZE, COUNT - 10, 1)  # ten more warm the sender up
STUDY = f"{objects.ROOT}.1000.1"
KEYS = asker.identifier({0x00080052: ("CS", "STUDY"), 0x0020000D: ("UI", STUDY)})
CT = objects.CT_IMAGE_STORAGE


def got(port: int, aet: str) -> float:
    """Objects a second by C-GET."""
    contexts = [asker.Context(asker.STUDY_GET), asker.Context(CT, scp=True)]
    association = asker.Asker(port, aet, contexts)
    count, seconds = association.get(KEYS)
    association.release()
    return _rate(count, seconds)


def moved(port: int, aet: str) -> float:
    """Objects a second by C-MOVE to RECEIVER."""
    association = asker.Asker(port, aet, [asker.Context(asker.STUDY_MOVE)])
    count, seconds = association.move(KEYS, "RECEIVER")
    association.release()
    return _rate(count, seconds)


def _rate(count: int, seconds: float) -> float:
    if count != COUNT:
        raise RuntimeError(f"{count} objects instead of {COUNT}")
    return count / seconds


@contextlib.contextmanager
def isocenter(folder: Path, receiver: int) -> Iterator[tuple[int, str]]:
    """`isocenter serve` with the study."""
    dimse, http = peers.free_port(), peers.free_port()
    config = folder / "isocenter.toml"
    config.write_text(f'[[peer]]\nname = "receiver"\naet = "RECEIVER"\nhost = "127.0.0.1"\nport = {receiver}\n')
    arguments = ["serve", "--data", folder / "data", "--dimse", f"127.0.0.1:{dimse}", "--http", f"127.0.0.1:{http}"]
    arguments += ["--aet", "BENCH", "--config", config]
    with harness.isocenter(*arguments, ports=[dimse, http], log=folder / "isocenter.log"):
        sender.rate(dimse, "BENCH", LOAD)
        yield dimse, "BENCH"


@contextlib.contextmanager
def orthanc(folder: Path, receiver: int) -> Iterator[tuple[int, str]]:
    """Orthanc with the study."""
    modalities = {"receiver": ("RECEIVER", receiver)}
    with peers.orthanc(folder / "orthanc", modalities=modalities, MaximumPduLength=131072) as peer:
        sender.rate(peer.port, peer.aet, LOAD)
        yield peer.port, peer.aet


@contextlib.contextmanager
def dcmqrscp(folder: Path, receiver: int) -> Iterator[tuple[int, str]]:
    """dcmqrscp with the study."""
    with peers.dcmqrscp(folder / "dcmqrscp", destinations={"RECEIVER": receiver}) as peer:
        sender.rate(peer.port, peer.aet, LOAD)
        yield peer.port, peer.aet


def comparisons(places: dict[str, tuple[int, str]]) -> Iterator[harness.Comparison]:
    """A row for each service and peer, as the goals differ."""
    services: dict[str, Callable[[int, str], float]] = {"C-GET": got, "C-MOVE": moved}
    for name, service in services.items():
        for peer, goal in GOALS.items():
            yield harness.Comparison(
                f"{name}, beside {peer}",
                "objects/s",
                lambda service=service: service(*places["isocenter"]),
                {peer: lambda service=service, peer=peer: service(*places[peer])},
                goal,
            )


def main() -> None:
    """The command line."""
    options = harness.arguments(__doc__).parse_args()
    harness.enter_private_network()
    with (
        tempfile.TemporaryDirectory(prefix="isocenter-bench-", dir=options.folder) as name,
        contextlib.ExitStack() as stack,
    ):
        folder, receiver = Path(name), peers.free_port()
        stack.enter_context(asker.receiver(receiver))
        places = {
            "isocenter": stack.enter_context(isocenter(folder, receiver)),
            "Orthanc": stack.enter_context(orthanc(folder, receiver)),
            "dcmqrscp": stack.enter_context(dcmqrscp(folder, receiver)),
        }
        harness.run("retrieve", "C-GET and C-MOVE", list(comparisons(places)), options, folder)


if __name__ == "__main__":
    main()
