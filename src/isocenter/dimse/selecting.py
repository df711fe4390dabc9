"""Which instances of the archive a C-MOVE or C-GET asks for (PS3.4 C.4.2.1.4, C.4.2.2.2 and Annexes Y, U, X ...)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from isocenter.archive.archive import Archive
from isocenter.errors import NotFound
from isocenter.model import UNIQUE_KEY, Equal, InstanceRef, Level, Query, Scope
from isocenter.services.retrieve import Selection
from isocenter.std.non_patient import NON_PATIENT_KEYS

_UIDS = 500  # UIDs in one question to the index
_FEW = 8  # up to so many instances of a series are selected one by one


class Selector:
    """Asks the archive's index."""

    def __init__(self, archive: Archive) -> None:
        self._archive = archive

    async def select(self, selection: Selection) -> list[InstanceRef]:
        """The instances of a selection, each once; [] if there are none."""
        found: dict[str, InstanceRef] = {}
        for scope, instances in await self._scopes(selection):
            try:
                refs = await self._archive.select(scope)
            except NotFound:
                continue
            for ref in refs:
                if instances is None or ref.instance in instances:
                    found.setdefault(ref.instance, ref)
        return list(found.values())

    async def _scopes(self, selection: Selection) -> list[tuple[Scope, frozenset[str] | None]]:
        """What to select from the index, and which instances of it (None: all)."""
        level = selection.level
        if selection.sop_classes:
            return await self._of_no_patient(selection.instances, selection.sop_classes)
        if (level > Level.STUDY and not selection.studies) or (level > Level.SERIES and not selection.series):
            return await self._searched(selection)
        studies: Sequence[str] = selection.studies
        if selection.patient:
            studies = await self.studies_of(selection.patient, selection.studies)
        if selection.level <= Level.STUDY:
            return [(Scope(study), None) for study in studies]
        if selection.level == Level.SERIES:
            return [(Scope(study, series), None) for study in studies for series in selection.series]
        return [
            one
            for study in studies
            for series in selection.series
            for one in _of_series(study, series, selection.instances)
        ]

    async def studies_of(self, patient: str, studies: tuple[str, ...]) -> list[str]:
        """The patient's studies; of `studies`, those that are, if any are given."""
        mine = Equal(UNIQUE_KEY[Level.PATIENT], (patient,))
        if not studies:
            return [one.study for one in await self._archive.find(Query(Level.STUDY, (mine,)))]
        found: list[str] = []
        for some in _portions(studies):
            asked = Query(Level.STUDY, (mine, Equal(UNIQUE_KEY[Level.STUDY], some)))
            found += [one.study for one in await self._archive.find(asked)]
        return found

    async def _searched(self, selection: Selection) -> list[tuple[Scope, frozenset[str] | None]]:
        """Series or images whose levels above were not all named: relational retrieval (PS3.4 C.4.2.2.2), and
        instances of whatever kind by their UIDs alone (Annex Y)."""
        above = [
            Equal(UNIQUE_KEY[level], values)
            for level, values in (
                (Level.PATIENT, (selection.patient,) if selection.patient else ()),
                (Level.STUDY, selection.studies),
                (Level.SERIES, selection.series if selection.level == Level.IMAGE else ()),
            )
            if values
        ]
        series: dict[tuple[str, str], list[str]] = {}
        for some in _portions(selection.instances if selection.level == Level.IMAGE else selection.series):
            asked = Query(selection.level, (*above, Equal(UNIQUE_KEY[selection.level], some)))
            for one in await self._archive.find(asked):
                series.setdefault((one.study, one.series or ""), []).append(one.instance or "")
        if selection.level == Level.SERIES:
            return [(Scope(study, uid), None) for study, uid in series]
        found = [one for (study, uid), wanted in series.items() for one in _of_series(study, uid, wanted)]
        return found if above else found + await self._of_no_patient(selection.instances, tuple(NON_PATIENT_KEYS))

    async def _of_no_patient(
        self, instances: tuple[str, ...], sop_classes: tuple[str, ...]
    ) -> list[tuple[Scope, frozenset[str] | None]]:
        """Those of `instances` that are of these classes."""
        found: list[tuple[Scope, frozenset[str] | None]] = []
        for some in _portions(instances):
            asked = Query(Level.IMAGE, (Equal(UNIQUE_KEY[Level.IMAGE], some),), sop_classes=sop_classes, bare=True)
            found += [(Scope("", "", one.instance), None) for one in await self._archive.find(asked)]
        return found


def _portions(uids: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    for at in range(0, len(uids), _UIDS):
        yield uids[at : at + _UIDS]


def _of_series(study: str, series: str, instances: Sequence[str]) -> list[tuple[Scope, frozenset[str] | None]]:
    if len(instances) <= _FEW:
        return [(Scope(study, series, instance), None) for instance in instances]
    return [(Scope(study, series), frozenset(instances))]
