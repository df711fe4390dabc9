"""What became of the objects of one import: counted, refusals and warnings with their reasons, as text and as JSON."""

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

_MOST_NAMED = 20  # files of one reason that are kept by name; the rest is a number
_MOST_TOLD = 5
_MOST_REASONS = 200
_MOST_WORDS = 20  # different sentences of a server that are kept


@dataclass
class Reasons:
    """Files by what was said of them; however many there are, it stays small."""

    counts: Counter[str] = field(default_factory=Counter)
    files: dict[str, list[str]] = field(default_factory=dict)

    def add(self, reason: str, label: str) -> None:
        if reason not in self.files and len(self.files) >= _MOST_REASONS:
            reason = "other reasons"
        self.counts[reason] += 1
        named = self.files.setdefault(reason, [])
        if len(named) < _MOST_NAMED:
            named.append(label)

    def as_json(self) -> list[dict[str, Any]]:
        return [
            {"reason": reason, "count": self.counts[reason], "files": files} for reason, files in self.files.items()
        ]

    def tell(self, what: str) -> None:
        """On stderr, `what` before each."""
        for reason, files in self.files.items():
            count = self.counts[reason]
            output.note(f"{what}: {reason} ({count})")
            for label in files[:_MOST_TOLD]:
                output.note(f"  {label}")
            if count > _MOST_TOLD:
                output.note(f"  and {count - _MOST_TOLD} more (--json names {_MOST_NAMED})")


@dataclass
class Summary:
    """Counts of one run. Its methods may be called from several threads."""

    named: frozenset[Path]  # the paths the person gave
    counts: Counter[str] = field(default_factory=Counter)
    bytes: int = 0
    refusals: Reasons = field(default_factory=Reasons)
    warnings: Reasons = field(default_factory=Reasons)
    words: dict[str, None] = field(default_factory=dict)  # what the server said beside its answers
    begun: float = field(default_factory=time.monotonic)
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def took(self, kind: str, size: int) -> None:
        """`kind` as Outcome.kind: stored, already-there, kept-first, replaced."""
        with self._lock:
            self.counts[kind] += 1
            self.bytes += size

    def warn(self, candidate: Candidate, reason: str) -> None:
        """A server took it, and says that something is not as it was sent."""
        with self._lock:
            self.counts["warned"] += 1
            self.warnings.add(reason, candidate.label)

    def say(self, words: str) -> None:
        """What a server said of a request, once."""
        with self._lock:
            if words and len(self.words) < _MOST_WORDS:
                self.words[words] = None

    def refuse(self, candidate: Candidate, error: IsocenterError) -> None:
        """Count a refusal; what is not DICOM and was only found in a folder or zip is none."""
        found = candidate.member is not None or candidate.path not in self.named
        with self._lock:
            if found and isinstance(error, NotDicomError):
                self.counts["not-dicom"] += 1
                return
            self.counts["refused"] += 1
            self.refusals.add(error.message, candidate.label)

    @property
    def refused(self) -> int:
        return self.counts["refused"]

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
            "refusals": self.refusals.as_json(),
            "warnings": self.warnings.as_json(),
            "said": list(self.words),
            "bytes": self.bytes,
            "seconds": round(time.monotonic() - self.begun, 3),
        }

    def tell(self) -> None:
        """The summary as text on stdout, refusals and warnings on stderr."""
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
        self.refusals.tell("refused")
        self.warnings.tell("stored with a warning")
        for words in self.words:
            output.note(f"the service warns: {words}")
