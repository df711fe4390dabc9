"""What became of the objects of one import: counted, refusals with their reasons, as text and as JSON."""

from __future__ import annotations

import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from isocenter.archive.walk import Candidate
from isocenter.cli import output
from isocenter.errors import IsocenterError, NotDicomError

_MOST_NAMED = 20  # refused files of one reason that are kept by name; the rest is a number
_MOST_TOLD = 5
_MOST_REASONS = 200


@dataclass
class Summary:
    """Counts of one run. Its methods may be called from several threads."""

    named: frozenset[Path]  # the paths the person gave
    counts: Counter[str] = field(default_factory=Counter)
    bytes: int = 0
    refusals: dict[str, list[str]] = field(default_factory=dict)
    refused: int = 0
    begun: float = field(default_factory=time.monotonic)
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def took(self, kind: str, size: int, *, warned: bool = False) -> None:
        """`kind` as Outcome.kind: stored, already-there, kept-first, replaced; `warned` if a server said more."""
        with self._lock:
            self.counts[kind] += 1
            self.counts["warned"] += warned
            self.bytes += size

    def refuse(self, candidate: Candidate, error: IsocenterError) -> None:
        """Count a refusal; what is not DICOM and was only found in a folder or zip is none."""
        found = candidate.member is not None or candidate.path not in self.named
        with self._lock:
            if found and isinstance(error, NotDicomError):
                self.counts["not-dicom"] += 1
                return
            self.refused += 1
            reason = error.message if len(self.refusals) < _MOST_REASONS else "other reasons"
            named = self.refusals.setdefault(reason, [])
            if len(named) < _MOST_NAMED:
                named.append(candidate.label)
            self.counts[f"refused: {reason}"] += 1

    def report(self, as_json: bool) -> None:
        """Tell it, as data or as text."""
        if as_json:
            output.write_json(self.as_json())
        else:
            self.tell()

    def as_json(self) -> dict[str, Any]:
        return {
            "stored": self.counts["stored"],
            "already_there": self.counts["already-there"],
            "kept_first": self.counts["kept-first"],
            "replaced": self.counts["replaced"],
            "not_dicom": self.counts["not-dicom"],
            "with_warning": self.counts["warned"],
            "refused": self.refused,
            "refusals": [
                {"reason": reason, "count": self.counts[f"refused: {reason}"], "files": files}
                for reason, files in self.refusals.items()
            ],
            "bytes": self.bytes,
            "seconds": round(time.monotonic() - self.begun, 3),
        }

    def tell(self) -> None:
        """The summary as text on stdout, refusals on stderr."""
        seconds = max(time.monotonic() - self.begun, 1e-3)
        total = sum(self.counts[kind] for kind in ("stored", "already-there", "kept-first", "replaced"))
        parts = [f"{self.counts['stored']} stored", f"{self.counts['already-there']} already there"]
        for kind, words in (
            ("replaced", "replaced (other bytes under the same UID)"),
            ("kept-first", "kept as they were (other bytes under the same UID)"),
        ):
            if self.counts[kind]:
                parts.append(f"{self.counts[kind]} {words}")
        if self.counts["warned"]:
            parts.append(f"{self.counts['warned']} of them with a warning of the server")
        parts.append(f"{self.refused} refused")
        if self.counts["not-dicom"]:
            parts.append(f"{self.counts['not-dicom']} not DICOM, left alone")
        output.write(", ".join(parts))
        rates = f"{total / seconds:.0f} objects/s, {output.amount(self.bytes / seconds)}/s"
        output.note(f"{output.amount(self.bytes)} in {seconds:.1f} s, {rates}")
        for reason, files in self.refusals.items():
            count = self.counts[f"refused: {reason}"]
            output.note(f"refused: {reason} ({count})")
            for label in files[:_MOST_TOLD]:
                output.note(f"  {label}")
            if count > _MOST_TOLD:
                output.note(f"  and {count - _MOST_TOLD} more (--json names {_MOST_NAMED})")
