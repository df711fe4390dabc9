"""Views of studies are made once for each state of a study, and few are kept; with a conversion that counts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, cast

import pytest

from data_sets import explicit
from isocenter.archive.archive import Archive
from isocenter.dimse import views
from isocenter.dimse.views import Views, concerns, ref_of
from isocenter.errors import NotFound
from isocenter.model import InstanceRef
from isocenter.views.view import Source, View, Viewed
from isocenter.wire.limits import DEFAULT_LIMITS, Limits
from skins.fake_archive import FakeBlob

CT, LEGACY_CT, SECONDARY = (f"1.2.840.10008.5.1.4.1.1.{end}" for end in ("2", "2.2", "7"))
EXPLICIT = "1.2.840.10008.1.2.1"


class Blob(FakeBlob):
    def __enter__(self) -> Blob:
        return self

    def __exit__(self, *_: object) -> None:
        """Nothing is held."""


class Blobs:
    """An archive's blobs; those in `gone` are not there."""

    def __init__(self) -> None:
        self.gone: set[str] = set()

    def blob(self, ref: InstanceRef) -> Blob:
        if ref.blob in self.gone:
            raise NotFound("no such blob")
        data = explicit(0x00080018, "UI", ref.instance.encode())
        return Blob(data, len(data))


class Converts:
    """One instance made of all sources, each time it is called."""

    def __init__(self) -> None:
        self.calls: list[tuple[View, list[str]]] = []

    def __call__(self, sources: Sequence[Source], view: View, limits: Limits) -> list[Viewed]:
        self.calls.append((view, [source.header["00080018"]["Value"][0] for source in sources]))
        ref = sources[0].ref
        return [Viewed(ref.study, "1.2.9", "1.2.9.1", LEGACY_CT, EXPLICIT, {}, ref, lambda: iter((b"",)))]


def refs(count: int, study: str = "1.2", sop_class: str = CT) -> list[InstanceRef]:
    size = len(explicit(0x00080018, "UI", b"1.2.1.10"))
    return [
        InstanceRef(study, f"{study}.1", f"{study}.1.{number}", sop_class, EXPLICIT, f"b{number}", size, 0, "d", "h")
        for number in range(10, 10 + count)
    ]


@pytest.fixture
def blobs() -> Blobs:
    return Blobs()


@pytest.fixture
def converts() -> Converts:
    return Converts()


@pytest.fixture
def of(blobs: Blobs, converts: Converts) -> Any:
    return Views(cast(Archive, blobs), DEFAULT_LIMITS, converts).of


def test_a_study_is_converted_once_and_again_when_it_has_changed(of: Any, converts: Converts) -> None:
    study = refs(3)
    assert of(study, View.ENHANCED) is of(list(study), View.ENHANCED)
    assert [(View.ENHANCED, [ref.instance for ref in study])] == converts.calls
    of(study[:2], View.ENHANCED)
    of([*study[:2], replace(study[2], digest="e", blob="b9")], View.ENHANCED)
    of([replace(ref, sop_class=LEGACY_CT) for ref in study], View.CLASSIC)
    assert 4 == len(converts.calls)


def test_what_cannot_look_other_is_not_converted(of: Any, converts: Converts) -> None:
    for study, view in ((refs(2, sop_class=SECONDARY), View.ENHANCED), (refs(2), View.CLASSIC)):
        assert study == [ref_of(one) for one in of(study, view)]
    assert [] == converts.calls
    assert concerns(View.ENHANCED, [SECONDARY, CT])
    assert concerns(View.CLASSIC, [LEGACY_CT])
    assert not concerns(View.ENHANCED, [LEGACY_CT])


def test_few_are_kept(blobs: Blobs, converts: Converts, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(views, "KEPT", 5)
    of = Views(cast(Archive, blobs), DEFAULT_LIMITS, converts).of
    first, second, third, large = refs(2), refs(3, "1.3"), refs(2, "1.4"), refs(6, "1.5")

    def converted(*studies: list[InstanceRef]) -> list[bool]:
        before = [(len(converts.calls), of(study, View.ENHANCED), len(converts.calls)) for study in studies]
        return [was != now for was, _, now in before]

    assert [True, True, False, False] == converted(first, second, first, second)
    assert [True, False, True] == converted(third, second, first), "the one that was used longest ago went"
    assert [True, True, False] == converted(large, large, first), "one that is too large is made each time"


def test_an_unreadable_instance_stays_as_received(of: Any, blobs: Blobs, converts: Converts) -> None:
    study = refs(3)
    blobs.gone.add(study[1].blob)
    made = of(study, View.ENHANCED)
    assert [[study[0].instance, study[2].instance]] == [uids for _, uids in converts.calls]
    assert [("1.2.9.1", True), (study[1].instance, False)] == [(one.instance, one.make is not None) for one in made]
    assert study[1] == ref_of(made[1])
    assert ("1.2.9", LEGACY_CT, study[0].blob) == (
        (ref := ref_of(made[0])).series, ref.sop_class, ref.blob
    )  # fmt: skip
