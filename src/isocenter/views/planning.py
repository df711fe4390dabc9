"""Which images of a study a view converts: into what, under which UIDs, and which stored ones stand for others."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final

from isocenter.errors import IsocenterError
from isocenter.std.transfer_syntaxes import transfer_syntax
from isocenter.views import classic, enhanced
from isocenter.views.attributes import first, items, text, values
from isocenter.views.classes import CLASSIC, MULTI_FRAME, Kind
from isocenter.views.content import LONGEST_NATIVE, frames_in
from isocenter.views.identity import New, earliest, new_series, new_uid
from isocenter.views.references import Moved, Target
from isocenter.views.view import Source, View
from isocenter.wire.limits import Limits

MOST_SPLIT: Final = 20_000
"""Frames of an object that become instances: each is described in memory."""


@dataclass(frozen=True, slots=True)
class Joined:
    """Single images that become one object; `number` is its Instance Number."""

    sources: list[Source]
    kind: Kind
    new: New
    number: int

    @property
    def uids(self) -> list[str]:
        return [source.ref.instance for source in self.sources]


@dataclass(frozen=True, slots=True)
class Split:
    """A multi-frame object of which these frames become single images."""

    source: Source
    kind: Kind
    news: dict[int, New]


@dataclass(slots=True)
class Plan:
    """What is to be made, by the instance in whose place it comes; what has become of each instance that is not there
    any more; and why images that are of the other view stay."""

    at: dict[str, Joined | Split] = field(default_factory=dict)
    moved: dict[str, Moved] = field(default_factory=dict)
    refused: dict[str, str] = field(default_factory=dict)


def plan(sources: Sequence[Source], view: View, limits: Limits, stay: Collection[str]) -> Plan:
    """The conversions of a study's images, but for those that `stay`."""
    made = Plan()
    pairs = _pairs(sources)
    if view is View.CLASSIC:
        _split(made, sources, pairs, stay)
    else:
        _join(made, sources, pairs, limits, stay)
    return made


def _pairs(sources: Sequence[Source]) -> dict[str, dict[int, Source]]:
    """Frames of multi-frame objects that are stored as single images, too, as one of both says; by number."""
    by_uid = {source.ref.instance: source for source in sources}
    found: dict[str, dict[int, Source]] = {}
    taken: set[str] = set()

    def pair(whole: Source, number: int, single: Source | None) -> None:
        if single is None or single.ref.instance in taken or number in found.get(whole.ref.instance, {}):
            return
        kind = CLASSIC.get(single.ref.sop_class)
        frames = classic.frame_count(whole.header)
        alike = all(values(single.header, one) == values(whole.header, one) for one in ("Rows", "Columns"))
        if alike and kind is not None and kind is MULTI_FRAME.get(whole.ref.sop_class) and 1 <= number <= frames:
            found.setdefault(whole.ref.instance, {})[number] = single
            taken.add(single.ref.instance)

    for source in sources:
        if source.ref.sop_class in MULTI_FRAME:
            for number, group in enumerate(items(source.header, "PerFrameFunctionalGroupsSequence"), 1):
                for item in items(group, "ConversionSourceAttributesSequence"):
                    pair(source, number, by_uid.get(text(item, "ReferencedSOPInstanceUID")))
    for source in sources:
        for item in items(source.header, "ConversionSourceAttributesSequence"):
            whole, number = by_uid.get(text(item, "ReferencedSOPInstanceUID")), first(item, "ReferencedFrameNumber")
            if whole is not None and source.ref.sop_class in CLASSIC:
                pair(whole, number if isinstance(number, int) else 1, source)
    return found


def _split(made: Plan, sources: Sequence[Source], pairs: dict[str, dict[int, Source]], stay: Collection[str]) -> None:
    wanted = [one for one in sources if one.ref.sop_class in MULTI_FRAME and one.ref.instance not in stay]
    since = _since(wanted)
    for source in wanted:
        ref = source.ref
        kind = MULTI_FRAME[ref.sop_class]
        held = pairs.get(ref.instance, {})
        frames = classic.frame_count(source.header)
        if len(held) < frames or not frames:
            why = classic.problem(source.header) or _unreadable(source, frames)
            if not why and frames > MOST_SPLIT:
                why = f"it has over {MOST_SPLIT} frames"
            if why:
                made.refused[ref.instance] = why
                continue
        series = new_series(View.CLASSIC, ref.series)
        news = {
            number: New(series, new_uid(View.CLASSIC, (ref.instance,), f"frame {number}"), since[ref.series])
            for number in range(1, frames + 1)
            if number not in held
        }
        made.moved[ref.instance] = Moved(
            tuple(
                Target(news[number].series, kind.classic, news[number].instance)
                if number in news
                else Target(held[number].ref.series, kind.classic, held[number].ref.instance)
                for number in range(1, frames + 1)
            ),
            by_frame=True,
        )
        if news:
            made.at[ref.instance] = Split(source, kind, news)


def _join(
    made: Plan, sources: Sequence[Source], pairs: dict[str, dict[int, Source]], limits: Limits, stay: Collection[str]
) -> None:
    by_uid = {source.ref.instance: source for source in sources}
    for uid, held in pairs.items():
        whole = by_uid[uid].ref
        for number, single in held.items():
            target = Target(whole.series, whole.sop_class, whole.instance, number)
            made.moved[single.ref.instance] = Moved((target,))
    wanted = []
    for source in sources:
        uid = source.ref.instance
        if source.ref.sop_class not in CLASSIC or uid in stay or uid in made.moved:
            continue
        why = enhanced.problem(source.header, CLASSIC[source.ref.sop_class]) or _unreadable(source)
        if why:
            made.refused[uid] = why
        else:
            wanted.append(source)
    since = _since(wanted)
    numbers: dict[str, int] = {}
    order = {uid: place for place, uid in enumerate(by_uid)}
    for group in _alike(wanted, limits):
        ref = group[0].ref
        kind = CLASSIC[ref.sop_class]
        uids = [source.ref.instance for source in group]
        new = New(
            new_series(View.ENHANCED, ref.series), new_uid(View.ENHANCED, uids, "instance"), since[ref.series]
        )  # fmt: skip
        numbers[ref.series] = numbers.get(ref.series, 0) + 1
        joined = Joined(group, kind, new, numbers[ref.series])
        made.at[min(uids, key=order.__getitem__)] = joined
        for number, uid in enumerate(uids, 1):
            made.moved[uid] = Moved((Target(new.series, kind.legacy, new.instance, number),))


def _alike(wanted: Sequence[Source], limits: Limits) -> list[list[Source]]:
    """The images of each series that can be frames of one object, in the order of its frames."""
    alike: dict[tuple[str, str, bytes], list[Source]] = {}
    for source in wanted:
        ref = source.ref
        mark = enhanced.common(source.header, frames_in(ref.transfer_syntax))
        alike.setdefault((ref.series, ref.sop_class, mark), []).append(source)
    groups: list[list[Source]] = []
    for group in alike.values():
        group.sort(key=lambda source: enhanced.place(source.header))
        most = max(1, min(limits.frames, LONGEST_NATIVE // max(1, _frame_bytes(group[0]))))
        groups.extend(group[at : at + most] for at in range(0, len(group), most))
    return groups


def _frame_bytes(source: Source) -> int:
    size = 1
    for keyword in ("Rows", "Columns", "SamplesPerPixel"):
        value = first(source.header, keyword)
        size *= value if isinstance(value, int) else 1
    bits = first(source.header, "BitsAllocated")
    return size * -(-(bits if isinstance(bits, int) else 16) // 8)


def _unreadable(source: Source, frames: int = 1) -> str:
    """Why its frames cannot be had; "" if nothing that can be told without reading them keeps them."""
    ref = source.ref
    try:
        frames_in(ref.transfer_syntax)
    except IsocenterError as error:
        return error.message
    syntax = transfer_syntax(ref.transfer_syntax)
    native = not syntax.encapsulated and not syntax.deflated
    if native and ref.size - ref.data_set_offset < _frame_bytes(source) * frames:
        return "its pixel data are not all there"
    return ""


def _since(wanted: Iterable[Source]) -> dict[str, tuple[str, str]]:
    """The earliest Series Date and Time of what comes out of each series."""
    held: dict[str, list[Source]] = {}
    for source in wanted:
        held.setdefault(source.ref.series, []).append(source)
    return {series: earliest(source.header for source in members) for series, members in held.items()}
