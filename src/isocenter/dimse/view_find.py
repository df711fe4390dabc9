"""C-FIND in a Query/Retrieve View (PS3.4 sections C.3.5, C.4.1): study by study, in bounded memory.

The index narrows to studies by what is the same in every view; only those are converted in which anything can look
other, and only where what is asked for depends on it. What the index does not know is decided by `matching`, as it is
where the index cannot.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterable, Iterator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import replace
from functools import partial
from itertools import groupby
from typing import Any, Final

from isocenter.archive.archive import Archive
from isocenter.dimse.views import Views, concerns
from isocenter.errors import NotFound
from isocenter.index.keys import (
    AVAILABLE_TRANSFER_SYNTAX,
    KEPT,
    MODALITIES_IN_STUDY,
    PATIENT_RELATED,
    SERIES_RELATED,
    SOP_CLASSES_IN_STUDY,
    STUDY_RELATED,
    known_tags,
)
from isocenter.index.matching import fits, key, matches
from isocenter.index.zones import shifted
from isocenter.model import UNIQUE_KEY, Empty, Equal, Found, InstanceRef, Level, Match, Query, Scope
from isocenter.views.view import View

# Modalities in Study is not among them, as no conversion makes one modality of another: lists of studies need none.
_OF_STUDY: Final = frozenset((SOP_CLASSES_IN_STUDY, *STUDY_RELATED))
_OF_PATIENT: Final = frozenset(PATIENT_RELATED[1:])  # how many studies there are is the same in every view
_ISSUER, _NAME, _BIRTH_DATE, _MODALITY = 0x00100021, 0x00100010, 0x00100030, 0x00080060
_ANSWERS = 512  # handed over at a time

Attributes = dict[str, Any]


class ViewFinder:
    """Answers queries in a view."""

    def __init__(self, archive: Archive, views: Views) -> None:
        self._archive = archive
        self._views = views

    def find(self, query: Query, view: View) -> AsyncGenerator[Sequence[Found], None]:
        """The answers, some at a time, and a group without any where a study has none, for whoever wants to stop."""
        if query.level == Level.PATIENT:
            return self._patients(query, view)
        return self._studies(query, view) if query.level == Level.STUDY else self._below(query, view)

    async def _patients(self, query: Query, view: View) -> AsyncGenerator[Sequence[Found], None]:
        rest, asked = _parted(query, _OF_PATIENT)
        if not _depends(query, _OF_PATIENT):
            async with aclosing(self._archive.find_stream(query)) as groups:
                async for group in groups:
                    yield group
            return
        who = (UNIQUE_KEY[Level.PATIENT], _ISSUER, _NAME, _BIRTH_DATE)
        asked = replace(asked, include=(*(query.include or ()), *who))
        async with aclosing(self._archive.find_stream(asked)) as groups:
            async for group in groups:
                for found in group:
                    totals = await self._totals(found.attributes, view)
                    one = replace(found, attributes={**found.attributes, **totals})
                    yield [one] if all(matches(match, one.attributes) for match in rest) else []

    async def _totals(self, patient: Mapping[str, Any], view: View) -> Attributes:
        """How many series and instances the patient has in the view."""
        series = instances = 0
        asked = Query(Level.STUDY, _the_same_patient(patient), STUDY_RELATED, bare=True)
        async with aclosing(self._studies(asked, view)) as groups:
            async for group in groups:
                for one in group:
                    series += one.attributes[key(STUDY_RELATED[0])]["Value"][0]
                    instances += one.attributes[key(STUDY_RELATED[1])]["Value"][0]
        numbers = zip(PATIENT_RELATED[1:], (series, instances), strict=True)
        return {key(tag): {"vr": "IS", "Value": [number]} for tag, number in numbers}

    async def _studies(self, query: Query, view: View) -> AsyncGenerator[Sequence[Found], None]:
        rest, asked = _parted(query, _OF_STUDY)
        if not _depends(query, _OF_STUDY):
            async with aclosing(self._archive.find_stream(query)) as groups:
                async for group in groups:
                    yield group
            return
        asked = replace(asked, include=(*(query.include or ()), *_OF_STUDY))
        async with aclosing(self._archive.find_stream(asked)) as groups:
            async for group in groups:
                for found in group:
                    one: Found | None = found
                    if _is_concerned(found, view):
                        one = await self._summed(found, view)
                    fit = one is not None and all(matches(match, one.attributes) for match in rest)
                    yield [one] if one is not None and fit else []

    async def _summed(self, found: Found, view: View) -> Found | None:
        """The study with what is computed of its instances; None if it is gone."""
        images = await self._images(found.study, view)
        return replace(found, attributes={**found.attributes, **_summary(images)}) if images else None

    async def _below(self, query: Query, view: View) -> AsyncGenerator[Sequence[Found], None]:
        """Series or images."""
        narrowing = tuple(_narrowing(query.matches))
        wanted = (SOP_CLASSES_IN_STUDY,)
        asked = Query(Level.STUDY, narrowing, wanted, fuzzy=query.fuzzy, bare=True, zone=query.zone)
        async with aclosing(self._archive.find_stream(asked)) as studies:
            async for some in studies:
                for found in some:
                    within = self._converted if _is_concerned(found, view) else self._as_received
                    async with aclosing(within(query, found.study, view)) as groups:
                        async for group in groups:
                            yield group

    async def _as_received(self, query: Query, study: str, _: View) -> AsyncGenerator[Sequence[Found], None]:
        mine = Equal(UNIQUE_KEY[Level.STUDY], (study,))
        async with aclosing(self._archive.find_stream(replace(query, matches=(mine, *query.matches)))) as groups:
            async for group in groups:
                yield group
        yield []

    async def _converted(self, query: Query, study: str, view: View) -> AsyncGenerator[Sequence[Found], None]:
        images = await self._images(study, view)
        answers = await self._views.run(partial(_answers, query, images))
        for at in range(0, max(1, len(answers)), _ANSWERS):
            yield answers[at : at + _ANSWERS]

    async def _images(self, study: str, view: View) -> list[Found]:
        """All instances of a study in the view with all that the index would keep of them; [] if there are none."""
        try:
            refs = await self._archive.select(Scope(study))
        except NotFound:
            return []
        mine = Equal(UNIQUE_KEY[Level.STUDY], (study,))
        stored = await self._archive.find(Query(Level.IMAGE, (mine,), None))
        return await self._views.run(lambda: self._shown(refs, stored, view))

    def _shown(self, refs: Sequence[InstanceRef], stored: Sequence[Found], view: View) -> list[Found]:
        known = {found.instance: found for found in stored}
        images = []
        for one in self._views.of(refs, view):
            found = known.get(one.source.instance)
            if found is None:
                continue  # deleted since
            if one.make is None:
                images.append(found)
                continue
            own = {name: one.header[name] for name in _BELOW_STUDY if name in one.header}
            own[key(AVAILABLE_TRANSFER_SYNTAX)] = {"vr": "UI", "Value": [one.transfer_syntax]}
            upper = {name: entry for name, entry in found.attributes.items() if name in _FROM_STUDY}
            images.append(Found(one.study, one.series, one.instance, upper | own))
        return images


_FROM_STUDY: Final = frozenset(map(key, known_tags(Level.STUDY)))
_BELOW_STUDY: Final = tuple(key(tag) for tag in sorted((*KEPT[Level.SERIES], *KEPT[Level.IMAGE])))


def _depends(query: Query, tags: frozenset[int]) -> bool:
    """Whether matches or answers have to do with `tags`."""
    return not tags.isdisjoint((*(query.include or ()), *(match.tag for match in query.matches)))


def _parted(query: Query, tags: frozenset[int]) -> tuple[list[Match], Query]:
    """The matches of `tags`, which the index would decide wrongly, and the query without them."""
    rest = [match for match in query.matches if match.tag in tags]
    return rest, replace(query, matches=tuple(match for match in query.matches if match.tag not in tags))


def _narrowing(asked: Iterable[Match]) -> Iterator[Match]:
    """What of a search for series or images narrows to studies, as these are in every view."""
    for match in asked:
        if match.tag in known_tags(Level.STUDY) - _OF_STUDY:
            yield match
        elif match.tag == _MODALITY and isinstance(match, Equal):
            yield replace(match, tag=MODALITIES_IN_STUDY)


def _is_concerned(found: Found, view: View) -> bool:
    return concerns(view, found.attributes.get(key(SOP_CLASSES_IN_STUDY), {}).get("Value", ()))


def _the_same_patient(patient: Mapping[str, Any]) -> tuple[Match, ...]:
    """What tells the patient's studies from others, as index.keys has it: the ID with its issuer; without an ID name
    and birth date."""
    has_id = bool(patient.get(key(UNIQUE_KEY[Level.PATIENT]), {}).get("Value"))
    tags = (UNIQUE_KEY[Level.PATIENT], _ISSUER) if has_id else (UNIQUE_KEY[Level.PATIENT], _NAME, _BIRTH_DATE)
    return tuple(_equal(tag, patient.get(key(tag), {}).get("Value")) for tag in tags)


def _equal(tag: int, values: Sequence[Any] | None) -> Match:
    value = values[0] if values else ""
    if isinstance(value, Mapping):
        value = "=".join(value.get(group, "") for group in ("Alphabetic", "Ideographic", "Phonetic")).rstrip("=")
    return Equal(tag, (str(value),)) if value else Empty(tag)


def _summary(images: Sequence[Found]) -> Attributes:
    """What is computed of a study's instances."""
    numbers = (len({one.series for one in images}), len(images))
    return {
        key(MODALITIES_IN_STUDY): _listed("CS", images, _MODALITY),
        key(SOP_CLASSES_IN_STUDY): _listed("UI", images, 0x00080016),
        **{key(tag): {"vr": "IS", "Value": [number]} for tag, number in zip(STUDY_RELATED, numbers, strict=True)},
    }


def _listed(vr: str, images: Sequence[Found], tag: int) -> Attributes:
    name = key(tag)
    values = sorted({value for one in images for value in one.attributes.get(name, {}).get("Value", ()) if value})
    return {"vr": vr, "Value": values} if values else {"vr": vr}


def _answers(query: Query, images: Sequence[Found]) -> list[Found]:
    """Those of a study's instances, or of its series, that fit."""
    found = []
    summary = _summary(images)
    for series, members in _by_series(images):
        related = {key(SERIES_RELATED): {"vr": "IS", "Value": [len(members)]}}
        for one in members if query.level == Level.IMAGE else members[:1]:
            attributes: Mapping[str, Any] = {**one.attributes, **summary, **related}
            if not fits(query, attributes):
                continue
            if query.zone is not None:
                attributes = shifted(attributes, query.zone)
            instance = one.instance if query.level == Level.IMAGE else None
            found.append(Found(one.study, series, instance, attributes))
    return found


def _by_series(images: Sequence[Found]) -> Iterator[tuple[str, list[Found]]]:
    first: dict[str, int] = {}
    for place, one in enumerate(images):
        first.setdefault(one.series or "", place)
    ordered = sorted(images, key=lambda one: first[one.series or ""])
    for series, members in groupby(ordered, key=lambda one: one.series or ""):
        yield series, list(members)
