"""Us and the peer in turn, in one run, on one machine; what counts is the ratio.

A benchmark is a list of `Comparison`s. Every contender runs once per round, the order changes from round to round, and
medians over the rounds are compared, so that what else the machine does meets all contenders alike. `main` gives each
script the same command line: `--rounds`, `--only TEXT`, `--json`, and `--write`, which replaces the script's
part of bench/README.md between its markers.

Numbers from a loaded machine are only good as ratios; the load average before the run is printed with them.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import os
import platform
import re
import statistics
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
README = ROOT / "bench" / "README.md"
sys.path.insert(0, str(ROOT / "tests"))

from rich.console import Console  # noqa: E402
from rich.table import Table  # noqa: E402

import peers  # noqa: E402  (tests/ is not a package)
import private_network  # noqa: E402

# Whoever has installed Isocenter has its modules compiled; where this is set, each start would compile them once more.
for _environment in (os.environ, peers.ENVIRONMENT):
    _environment.pop("PYTHONDONTWRITEBYTECODE", None)

Round = Callable[[], float]

# In a virtual machine the host gives its processors to others when it likes, for seconds at a time. A run that lost
# more than a twentieth of its time so is nobody's figure: it is done again, whoever's it was, a few times at most.
_MOST_STOLEN, _TRIES = 0.05, 4


@dataclass(frozen=True)
class Comparison:
    """One line of the table. Each callable runs one round and returns a figure in `unit`.

    `goal` is the ratio to the best peer that is wanted; ratios are oriented so that above 1 means that we are better,
    whether the figure is a rate ("higher" is better) or a time ("lower"). `bounds` are measured alike and shown, but
    not compared with: what the load generator itself reaches, or the disk. With `writes`, each round begins with an
    empty page cache: it makes files, and reads none that were there before.
    """

    name: str
    unit: str
    ours: Round
    peers: dict[str, Round]
    goal: float | None = None
    better: str = "higher"
    bounds: dict[str, Round] = field(default_factory=dict)
    writes: bool = False


@dataclass
class Result:
    """Figures of all rounds of one comparison, ours under "isocenter"."""

    name: str
    unit: str
    better: str
    goal: float | None
    bounds: frozenset[str]
    rounds: dict[str, list[float]] = field(default_factory=dict)
    disturbed: int = 0  # runs in which the host took the processors away; all but the last try were done again

    def median(self, contender: str) -> float:
        return statistics.median(self.rounds[contender])

    @property
    def best_peer(self) -> str:
        others = [name for name in self.rounds if name != "isocenter" and name not in self.bounds]
        choose = max if self.better == "higher" else min
        return choose(others, key=self.median)

    @property
    def ratio(self) -> float:
        """Our median to the best peer's, above 1 where we are better."""
        ours, theirs = self.median("isocenter"), self.median(self.best_peer)
        return ours / theirs if self.better == "higher" else theirs / ours

    @property
    def reached(self) -> bool | None:
        return None if self.goal is None else self.ratio >= self.goal

    def as_json(self) -> dict[str, Any]:
        medians = {name: self.median(name) for name in self.rounds}
        return {
            "name": self.name, "unit": self.unit, "better": self.better, "medians": medians, "rounds": self.rounds,
            "best_peer": self.best_peer, "ratio": self.ratio, "goal": self.goal, "reached": self.reached,
            "disturbed": self.disturbed,
        }  # fmt: skip


def _empty_page_cache() -> None:
    """Let each contender begin with the same memory; without the right to it, as it is.

    In a virtual machine a page of memory costs the host a fault when it is used for the first time, which took up to
    three times as long as writing the file itself and met whoever came first. Pages that were in use before do not.
    """
    with suppress(OSError):
        Path("/proc/sys/vm/drop_caches").write_text("1\n")


def measure(comparison: Comparison, rounds: int, note: Callable[[str], None]) -> Result:
    """Run all contenders `rounds` times, a different one first each time."""
    contenders = {"isocenter": comparison.ours, **comparison.peers, **comparison.bounds}
    bounds = frozenset(comparison.bounds)
    result = Result(comparison.name, comparison.unit, comparison.better, comparison.goal, bounds)
    result.rounds = {name: [] for name in contenders}
    names = list(contenders)
    for number in range(rounds):
        start = number % len(names)
        for name in names[start:] + names[:start]:
            note(f"{comparison.name}: round {number + 1} of {rounds}, {name}")
            for _ in range(_TRIES):
                os.sync()  # one contender must not pay for the writes of the one before
                if comparison.writes:
                    _empty_page_cache()
                before = _processor_time()
                figure_of_round = contenders[name]()
                stolen = _stolen(before, _processor_time())
                if stolen <= _MOST_STOLEN:
                    break
                result.disturbed += 1
            result.rounds[name].append(figure_of_round)
    return result


def _processor_time() -> list[int]:
    """Ticks of all processors: user, nice, system, idle, waiting for disks, interrupts, soft ones, stolen (proc(5))."""
    try:
        return [int(number) for number in Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]]
    except OSError:
        return [0] * 8


def _stolen(before: list[int], after: list[int]) -> float:
    """The part of the time between that was stolen; one tick is none, as a run of 0.1 s has twenty."""
    spent = [now - then for then, now in zip(before, after, strict=True)]
    return (spent[7] - 1) / max(sum(spent), 1)


# --- the machine ----------------------------------------------------------------------------------------------------


def machine(folder: Path) -> dict[str, str]:
    """What the figures were measured on. `folder` is where files were written."""
    return {
        "CPU": f"{_cpu_model()}, {os.cpu_count()} cores",
        "memory": f"{os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') / 2**30:.0f} GiB",
        "kernel": f"{platform.system()} {platform.release()}",
        "file system": _file_system(folder),
        "Python": platform.python_version(),
        "Isocenter": importlib.metadata.version("isocenter"),
        "peers": ", ".join(_peer_versions()),
        "load before the run": f"{os.getloadavg()[0]:.2f}",
    }


def _cpu_model() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def _file_system(folder: Path) -> str:
    """Type of the mount that `folder` is on: the longest mount point above it."""
    best, kind = "", "unknown"
    for line in Path("/proc/self/mounts").read_text().splitlines():
        _, point, name, *_ = line.split()
        if folder.resolve().is_relative_to(point) and len(point) >= len(best):
            best, kind = point, name
    return kind


def _peer_versions() -> Iterator[str]:
    for program, name in (("storescp", "DCMTK"), ("Orthanc", "Orthanc")):
        path = peers.find_program(program)
        if path is not None:
            text = subprocess.run([path, "--version"], capture_output=True, text=True, check=False).stdout
            found = re.search(r"v?(\d+\.\d+(?:\.\d+)?)", text)
            yield f"{name} {found.group(1) if found else '?'}"
    for package in ("pydicom", "pynetdicom"):
        try:
            yield f"{package} {importlib.metadata.version(package)}"
        except importlib.metadata.PackageNotFoundError:
            continue


# --- output ---------------------------------------------------------------------------------------------------------


def figure(value: float) -> str:
    """Three or four digits that mean something."""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def _cells(result: Result, line_break: str) -> list[str]:
    others = [name for name in result.rounds if name != "isocenter"]
    goal = "" if result.goal is None else f"{result.goal:g}"
    verdict = {None: "", True: "reached", False: "missed"}[result.reached]
    ours = result.rounds["isocenter"]
    return [
        result.name,
        result.unit,
        f"{figure(result.median('isocenter'))} ({figure(min(ours))} to {figure(max(ours))})",
        line_break.join(f"{name} {figure(result.median(name))}" for name in others),
        f"{result.ratio:.2f}",
        goal,
        verdict,
    ]


HEADINGS = ["what", "unit", "Isocenter, median (least to most)", "peers, median", "ratio to the best", "goal", ""]


def print_table(title: str, results: Sequence[Result], console: Console) -> None:
    """The results as a table on the terminal."""
    table = Table(*HEADINGS, title=title)
    for result in results:
        table.add_row(*_cells(result, "\n"))
    console.print(table)


def markdown(results: Sequence[Result], described: dict[str, str], rounds: int) -> str:
    """The same as a table for README.md, with the machine below it."""
    lines = ["| " + " | ".join(HEADINGS) + " |", "|" + "---|" * len(HEADINGS)]
    lines += ["| " + " | ".join(_cells(result, "<br>")) + " |" for result in results]
    lines += ["", f"Medians of {rounds}. " + "; ".join(f"{key}: {value}" for key, value in described.items()) + "."]
    return "\n".join(lines)


def write_section(file: Path, name: str, content: str) -> None:
    """Replace what stands between the markers of `name`; ValueError where the file has none."""
    begin, end = f"<!-- {name}: made by make bench -->", f"<!-- {name}: end -->"
    text = file.read_text("utf-8")
    head, found, rest = text.partition(begin)
    _, closed, tail = rest.partition(end)
    if not found or not closed:
        raise ValueError(f"{file.name} has no markers for {name}")
    file.write_text(f"{head}{begin}\n{content}\n{end}{tail}", "utf-8")


# --- the command line -----------------------------------------------------------------------------------------------


def arguments(description: str) -> argparse.ArgumentParser:
    """The options every benchmark has; a script adds its own."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--rounds", type=int, default=5, help="rounds per contender; medians are compared")
    parser.add_argument("--only", default="", help="only comparisons whose name contains this text")
    parser.add_argument("--folder", type=Path, help="where files are written (default: the system's temporary folder)")
    parser.add_argument("--json", action="store_true", help="results as JSON on stdout")
    parser.add_argument("--write", action="store_true", help="put the table into bench/README.md")
    return parser


def enter_private_network() -> None:
    """Leave the machine's network, as peers that listen everywhere oblige us to; ends the script where impossible."""
    reason = private_network.enter()
    if reason is not None:
        raise SystemExit(f"benchmarks need a private network: {reason}")


def run(name: str, title: str, comparisons: Sequence[Comparison], options: argparse.Namespace, folder: Path) -> None:
    """Measure, print, and write. `name` names the section of bench/README.md, `folder` is where files are written."""
    console = Console(stderr=True)
    described = machine(folder)
    wanted = [one for one in comparisons if options.only in one.name]
    if not wanted:
        raise SystemExit(f"no comparison named {options.only!r}: {', '.join(one.name for one in comparisons)}")
    with console.status("") as status:
        results = [measure(one, options.rounds, status.update) for one in wanted]
    if disturbed := sum(result.disturbed for result in results):
        described["runs that the host disturbed"] = str(disturbed)
    print_table(title, results, console)
    console.print("; ".join(f"{key}: {value}" for key, value in described.items()))
    if options.json:
        print(json.dumps({"machine": described, "results": [result.as_json() for result in results]}, indent=1))
    if options.write:
        write_section(README, name, markdown(results, described, options.rounds))


@contextmanager
def isocenter(*arguments: str | Path, ports: Sequence[int], log: Path) -> Iterator[peers.Running]:
    """Our own command as a server process, as a user starts it: ready when it listens on all `ports`."""
    argv = [str(Path(sys.executable).parent / "isocenter"), *arguments]
    with peers.running(argv, log=log, ports=ports) as server:
        yield server


def run_isocenter(*arguments: str | Path) -> None:
    """Our own command to its end; raises peers.PeerFailed with its output when it fails."""
    argv = [str(Path(sys.executable).parent / "isocenter"), *(str(one) for one in arguments)]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise peers.PeerFailed(f"isocenter ended with {done.returncode}:\n{done.stdout[-1000:]}{done.stderr[-3000:]}")
