"""What a step of work is: something that is to be done, is being done or was done, and who wants to hear of it.

Four kinds share the rows: unified procedure steps (PS3.4 Annex CC), steps scheduled for modalities (Annex K), those
that modalities perform (Annex F), and requests for storage commitment whose answer is asked for later (PS3.18 section
13). What is in a step and what may become of it is said by `services/`; here it is a data set with a name, a state and,
for unified steps, the lock of who performs it. Like jobs, steps are in no file; `isocenter check --rebuild` carries
them over.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from isocenter.model import DateTimeRange, Empty, Equal, InSequence, Match, Range, Wildcard

Kind = Literal["unified", "scheduled", "performed", "commitment"]

STATE_OF: Mapping[Kind, int] = {"unified": 0x00741000, "performed": 0x00400252}
"""The attribute that holds a step's state; that of a scheduled one is in a sequence."""
START_OF: Mapping[Kind, int] = {"unified": 0x00404005}
PATIENT_ID = 0x00100020


@dataclass(frozen=True, slots=True)
class Step:
    """One row. `uid` is the SOP Instance UID; of a scheduled step its Study Instance UID and Scheduled Procedure Step
    ID, with a backslash between. `transaction` is "" where nobody has the lock. `attributes` are DICOM JSON."""

    kind: Kind
    uid: str
    state: str
    transaction: str
    attributes: Mapping[str, Any] = field(repr=False)
    id: int = 0


@dataclass(frozen=True, slots=True)
class StepQuery:
    """A search of one kind of steps; the matches are those of a Query."""

    kind: Kind
    matches: tuple[Match, ...] = ()
    limit: int | None = None
    offset: int = 0
    fuzzy: bool = False


@dataclass(frozen=True, slots=True)
class Watcher:
    """An AE that is subscribed to steps that come; to those that fulfil `matches` if it is `filtered`."""

    aet: str
    filtered: bool
    lock: bool
    matches: tuple[Match, ...] = ()


@dataclass(frozen=True, slots=True)
class Report:
    """One event of a step, for one AE (PS3.4 Table CC.2.4-1). `information` is DICOM JSON."""

    seq: int
    aet: str
    uid: str
    event_type: int
    information: Mapping[str, Any] = field(repr=False)


def dumped(match: Match) -> dict[str, Any]:
    """A match as JSON, for a subscription that outlives the process."""
    if isinstance(match, InSequence):
        return {"in": match.tag, "matches": [dumped(inner) for inner in match.matches]}
    if isinstance(match, DateTimeRange):
        return {"date": dumped(match.date), "time": dumped(match.time)}
    if isinstance(match, Equal):
        return {"equal": match.tag, "values": list(match.values)}
    if isinstance(match, Wildcard):
        return {"wild": match.tag, "pattern": match.pattern}
    if isinstance(match, Range):
        return {"range": match.tag, "low": match.low, "high": match.high}
    return {"empty": match.tag}


def loaded(form: Mapping[str, Any]) -> Match:
    """The match that was dumped."""
    if "in" in form:
        return InSequence(form["in"], tuple(loaded(inner) for inner in form["matches"]))
    if "date" in form:
        date, time = loaded(form["date"]), loaded(form["time"])
        assert isinstance(date, Range)
        assert isinstance(time, Range)
        return DateTimeRange(date, time)
    if "equal" in form:
        return Equal(form["equal"], tuple(form["values"]))
    if "wild" in form:
        return Wildcard(form["wild"], form["pattern"])
    if "range" in form:
        return Range(form["range"], form["low"], form["high"])
    return Empty(form["empty"])
