"""All instances of one study in a view: what is converted, what follows because it refers to that, and what stays.

Only what is in the study is known: references to other studies stay as they are. Where both an object and what it was
converted from are stored, the one that is of the view stands for both.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache, partial
from typing import Final

from isocenter.errors import IsocenterError
from isocenter.views.attributes import put, slim, text
from isocenter.views.classes import Kind
from isocenter.views.classic import classic
from isocenter.views.content import Opened, copied_in, frame_of, frames_in, frames_of, header
from isocenter.views.enhanced import enhanced
from isocenter.views.identity import REFERENCES_UPDATED, New, contributed, identify, new_series, new_uid, reference
from isocenter.views.planning import Joined, Plan, Split, plan
from isocenter.views.references import Moved, Moves, Target, mentions, rewritten
from isocenter.views.view import Source, View, Viewed
from isocenter.wire.dicomjson import Model
from isocenter.wire.limits import DEFAULT_LIMITS, Limits

log = logging.getLogger("isocenter.views")

_OPEN: Final = 2  # sources whose bytes are held at a time: that of the frames asked for, and one more


def viewed(sources: Sequence[Source], view: View, limits: Limits = DEFAULT_LIMITS) -> list[Viewed]:
    """The instances of one study in `view`, in the order of series and instances as given; pure and deterministic.

    What cannot be converted stays as received, and the log says why.
    """
    stay = Stay()
    while True:
        # What turns out to be impossible only when it is described changes what others refer to
        study = _Study(sources, view, limits, stay)
        found = study.described()
        if study.failed == stay:
            break
        stay = study.failed
    study.forget()
    for why, count in Counter((study.refused | stay.images | stay.references).values()).items():
        log.info("%d instances stay as received in the %s view: %s", count, view, why)
    return found


@dataclass(slots=True)
class Stay:
    """Images that cannot be converted, and instances whose references cannot be rewritten, with the reasons."""

    images: dict[str, str] = field(default_factory=dict)
    references: dict[str, str] = field(default_factory=dict)


class _Study:
    """One attempt. `failed` is `stay`, and what turned out not to be possible; `refused` are images never tried."""

    def __init__(self, sources: Sequence[Source], view: View, limits: Limits, stay: Stay) -> None:
        self._sources = {source.ref.instance: source for source in sources}
        self._view = view
        self._limits = limits
        self.failed = Stay(dict(stay.images), dict(stay.references))
        self._plan: Plan = plan(sources, view, limits, stay.images)
        self.refused = self._plan.refused
        self._updated, self._moves = self._follow(stay.references)
        self._where = {
            target.instance: target.series
            for uid, source in self._sources.items()
            for target in self._targets(uid, source)
        }
        # Bytes and whole models of what is being made; a frame's neighbour is likely to be asked for next
        self._opened = lru_cache(maxsize=_OPEN)(self._open)
        self._model = lru_cache(maxsize=_OPEN)(self._rewrite)

    # --- what follows from what is converted ----------------------------------------------------------------------

    def _follow(self, stay: Collection[str]) -> tuple[dict[str, New], Moves]:
        """Who else becomes another instance because of what it refers to, and all moves there are then."""
        plan = self._plan
        moved = dict(plan.moved)
        # What is stored and stands for others may well refer to them as its sources, and stays what it is for all that
        own: dict[str, set[str]] = {}
        for uid, one in plan.moved.items():
            for target in one.targets:
                own.setdefault(target.instance, set()).update((uid, self._sources[uid].ref.series))
        referring: dict[str, list[str]] = {}  # to an instance or a series, by its UID
        for uid, source in self._sources.items():
            if uid not in plan.moved and uid not in stay:
                for mentioned in set().union(*mentions(source.header)) - own.get(uid, set()):
                    referring.setdefault(mentioned, []).append(uid)
        updated: dict[str, New] = {}
        waiting = list(plan.moved)
        while waiting:
            gone = waiting.pop()
            for uid in (*referring.pop(gone, ()), *referring.pop(self._sources[gone].ref.series, ())):
                if uid in updated:
                    continue
                ref = self._sources[uid].ref
                new = New(new_series(self._view, ref.series), new_uid(self._view, (uid,), "instance"))
                updated[uid] = new
                moved[uid] = Moved((Target(new.series, ref.sop_class, new.instance),))
                waiting.append(uid)
        moved |= {uid: _again(one, updated) for uid, one in plan.moved.items()}
        series: dict[str, dict[str, None]] = {}
        for uid, source in self._sources.items():
            where = series.setdefault(source.ref.series, {})
            targets = moved[uid].targets if uid in moved else ()
            where.update(dict.fromkeys(target.series for target in targets) or {source.ref.series: None})
        return updated, Moves(moved, {uid: tuple(where) for uid, where in series.items() if tuple(where) != (uid,)})

    def _targets(self, uid: str, source: Source) -> tuple[Target, ...]:
        """What an instance is in the view."""
        moved = self._moves.instances.get(uid)
        return (Target(source.ref.series, source.ref.sop_class, uid),) if moved is None else moved.targets

    # --- what there is then ----------------------------------------------------------------------------------------

    def described(self) -> list[Viewed]:
        """All instances of the view but those that cannot be made, whose sources are in `failed` then."""
        found: list[Viewed] = []
        for uid, source in self._sources.items():
            first = self._plan.at.get(uid)
            if first is not None:
                found.extend(self._try(first))
            elif uid in self._updated:
                found.extend(self._try(source))
            elif uid not in self._plan.moved:
                found.append(_as_received(source))
        return found

    def _try(self, one: Joined | Split | Source) -> list[Viewed]:
        try:
            if isinstance(one, Joined):
                return [self._joined(one)]
            return self._split(one) if isinstance(one, Split) else [self._update(one)]
        except IsocenterError as error:
            if isinstance(one, Source):
                self.failed.references[one.ref.instance] = error.message
            else:
                sources = one.sources if isinstance(one, Joined) else [one.source]
                self.failed.images |= {source.ref.instance: error.message for source in sources}
            return []

    def _joined(self, one: Joined) -> Viewed:
        ref = one.sources[0].ref
        light = [rewritten(source.header, self._moves) for source in one.sources]
        model = enhanced(light, one.kind, one.new, one.number)
        return Viewed(
            ref.study, one.new.series, one.new.instance, one.kind.legacy, frames_in(ref.transfer_syntax), slim(model),
            source=ref, make=partial(self._make_joined, one.uids, one.kind, one.new, one.number),
        )  # fmt: skip

    def _split(self, one: Split) -> list[Viewed]:
        ref = one.source.ref
        light = rewritten(one.source.header, self._moves)
        syntax = frames_in(ref.transfer_syntax)
        return [
            Viewed(
                ref.study, new.series, new.instance, one.kind.classic, syntax,
                slim(classic(light, one.kind, number, new)),
                source=ref, make=partial(self._make_split, ref.instance, one.kind, number, new, last=max(one.news)),
            )
            for number, new in one.news.items()
        ]  # fmt: skip

    def _update(self, source: Source) -> Viewed:
        ref, new = source.ref, self._updated[source.ref.instance]
        model = self._as_updated(ref.instance, rewritten(source.header, self._moves))
        return Viewed(
            ref.study, new.series, new.instance, ref.sop_class, copied_in(ref.transfer_syntax), slim(model),
            source=ref, make=partial(self._make_updated, ref.instance),
        )  # fmt: skip

    def _as_updated(self, uid: str, model: Model) -> Model:
        result = dict(model)
        put(result, "ContributingEquipmentSequence", *contributed([model], REFERENCES_UPDATED))
        of = reference(text(model, "SOPClassUID"), text(model, "SOPInstanceUID"))
        put(result, "ConversionSourceAttributesSequence", of)
        identify(result, self._updated[uid])
        return dict(sorted(result.items()))

    def forget(self) -> None:
        """The headers: what is described is kept for long, and what is made is made of bytes."""
        self._sources = {uid: replace(source, header={}) for uid, source in self._sources.items()}
        self._plan = Plan()

    # --- bytes -----------------------------------------------------------------------------------------------------

    def _open(self, uid: str) -> Opened:
        return Opened.of(self._sources[uid], self._limits)

    def _rewrite(self, uid: str) -> Model:
        return rewritten(self._opened(uid).model, self._moves)

    def _make_joined(self, uids: Sequence[str], kind: Kind, new: New, number: int) -> Iterator[bytes]:
        models = [rewritten(self._opened(uid).model, self._moves) for uid in uids]
        yield header(enhanced(models, kind, new, number, where=self._where))
        del models
        yield from frames_of([partial(self._opened, uid) for uid in uids], self._opened(uids[0]).image)
        self._let_go()

    def _make_split(self, uid: str, kind: Kind, number: int, new: New, *, last: int) -> Iterator[bytes]:
        yield header(classic(self._model(uid), kind, number, new))
        yield from frame_of(self._opened(uid).image, number)
        if number == last:
            self._let_go()

    def _make_updated(self, uid: str) -> Iterator[bytes]:
        yield header(self._as_updated(uid, self._model(uid)))
        yield from self._opened(uid).pixel_data()
        self._let_go()

    def _let_go(self) -> None:
        """Hold no bytes: whoever keeps what was described for another time keeps this, too."""
        self._opened.cache_clear()
        self._model.cache_clear()


def _again(moved: Moved, updated: dict[str, New]) -> Moved:
    """Where a target that is stored, too, has become another instance itself."""
    targets = tuple(
        Target(new.series, target.sop_class, new.instance, target.frame)
        if (new := updated.get(target.instance)) is not None
        else target
        for target in moved.targets
    )
    return Moved(targets, moved.by_frame)


def _as_received(source: Source) -> Viewed:
    ref = source.ref
    return Viewed(
        ref.study, ref.series, ref.instance, ref.sop_class, ref.transfer_syntax, slim(source.header), source=ref
    )
