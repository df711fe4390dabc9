"""The tests every index passes. Subclass `IndexSuite` in a test module and give it a fixture `index`.

`entry` makes index entries from a few attributes without a file behind them.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Protocol

import pytest

from isocenter.errors import NotFound, OutOfResources
from isocenter.index.base import Applied, Entry, Housekeeping, Index, MetadataRun
from isocenter.index.keys import Keys, extract_image, extract_non_patient, extract_upper, unsupported
from isocenter.index.listing import typed
from isocenter.index.matching import key
from isocenter.model import Equal, Found, InSequence, InstanceRef, Level, Order, Origin, Query, Range, Scope, Wildcard
from isocenter.std.dictionary import vr_of

CT = "1.2.840.10008.5.1.4.1.1.2"
MR = "1.2.840.10008.5.1.4.1.1.4"
HANGING_PROTOCOL = "1.2.840.10008.5.1.4.38.1"
COLOR_PALETTE = "1.2.840.10008.5.1.4.39.1"
EXPLICIT = "1.2.840.10008.1.2.1"


class FullIndex(Index, Housekeeping, Protocol):
    """What the archive needs."""


def attributes(values: Mapping[int, Any]) -> dict[str, Any]:
    """Tag to value or list of values as DICOM JSON; a person name may be given as text."""
    model: dict[str, Any] = {}
    for tag, value in values.items():
        many = value if isinstance(value, list) else [value]
        vr = vr_of(tag)
        if vr == "PN":
            groups = ("Alphabetic", "Ideographic", "Phonetic")
            many = [dict(zip(groups, name.split("="), strict=False)) for name in many]
            many = [{group: text for group, text in name.items() if text} for name in many]
        model[key(tag)] = {"vr": vr, "Value": many} if value not in (None, "", []) else {"vr": vr}
    return model


def entry(study: str, series: str, instance: str, content: str = "", **more: Any) -> Entry:
    """An entry for Study, Series and SOP Instance UID; `more` are attributes as `x00100010="Doe^Jane"`."""
    values: dict[int, Any] = {
        0x0020000D: study,
        0x0020000E: series,
        0x00080018: instance,
        0x00080016: CT,
        0x00080060: "CT",
        0x00100020: "P1",
    }
    values |= {int(name[1:], 16): value for name, value in more.items()}
    model = attributes(values)
    upper = extract_upper(model)
    image, sop_class, frames = extract_image(model)
    return _entry(Keys(upper.study, upper.series, image, upper.patient, upper.modality, sop_class, frames), content)


def non_patient_entry(sop_class: str, instance: str, content: str = "", **more: Any) -> Entry:
    """The same for an instance of no patient; a sequence's value is a list of items as `attributes` makes them."""
    values = {0x00080016: sop_class, 0x00080018: instance, **{int(name[1:], 16): more[name] for name in more}}
    return _entry(extract_non_patient(attributes(values)), content)


def _entry(keys: Keys, content: str) -> Entry:
    instance = keys.image.uid
    digest = hashlib.sha256(f"{instance} {content}".encode()).digest()
    blob = f"aa/{digest[:16].hex()}"
    return Entry(keys, EXPLICIT, blob, 1000, 300, digest, b"\0" * 32, Origin("dimse"), "2026-01-01T00:00:00.000Z")


def put(index: Index, *entries: Entry) -> list[Applied]:
    return index.apply(entries, "keep-first")


def _unseen(index: FullIndex, entries: list[Entry]) -> list[Entry]:
    assert index.counts().instances == 0
    return entries


def uids(found: list[Found]) -> list[str | None]:
    return [one.instance or one.series or one.study for one in found]


class IndexSuite:
    """What an index promises."""

    def test_what_is_applied_is_found(self, index: FullIndex) -> None:
        applied = put(index, entry("1", "1.1", "1.1.1", x00280008="7", x00100010="Doe^Jane=ド=ど"))
        ref = InstanceRef(
            "1", "1.1", "1.1.1", CT, EXPLICIT, applied[0].ref.blob, 1000, 300, applied[0].ref.digest, "00" * 32, 7
        )
        assert applied == [Applied("stored", ref)]
        assert index.select(Scope("1")) == [ref]
        found = list(index.find(Query(Level.IMAGE, include=None)))
        assert uids(found) == ["1.1.1"]
        assert found[0].attributes["00100010"]["Value"] == [
            {"Alphabetic": "Doe^Jane", "Ideographic": "ド", "Phonetic": "ど"}
        ]
        assert found[0].attributes["00083002"]["Value"] == [EXPLICIT]
        assert list(found[0].attributes) == sorted(found[0].attributes)

    def test_counts_and_lists_of_levels(self, index: FullIndex) -> None:
        put(index, entry("1", "1.1", "1.1.1"), entry("1", "1.1", "1.1.2"))
        put(index, entry("1", "1.2", "1.2.1", x00080060="SR", x00080016=MR), entry("2", "2.1", "2.1.1"))
        first, second = index.find(Query(Level.STUDY, include=(0x00080062,)))
        assert first.attributes["00080061"]["Value"] == ["CT", "SR"]
        assert first.attributes["00080062"]["Value"] == [CT, MR]
        assert first.attributes["00201206"]["Value"] == [2]
        assert first.attributes["00201208"]["Value"] == [3]
        assert second.attributes["00201208"]["Value"] == [1]
        series = list(index.find(Query(Level.SERIES)))
        assert [one.attributes["00201209"]["Value"] for one in series] == [[2], [1], [1]]
        (patient,) = index.find(Query(Level.PATIENT))
        assert [patient.attributes[name]["Value"] for name in ("00201200", "00201202", "00201204")] == [[2], [3], [4]]
        counts = index.counts()
        assert (counts.patients, counts.studies, counts.series, counts.instances, counts.bytes) == (1, 2, 3, 4, 4000)
        assert counts.modalities == {"CT": 2, "SR": 1}

    def test_the_same_bytes_again(self, index: FullIndex) -> None:
        first = put(index, entry("1", "1.1", "1.1.1"))[0]
        again = put(index, entry("1", "1.1", "1.1.1"), entry("1", "1.1", "1.1.1"))
        assert again == [Applied("already-there", first.ref, leftover=True)] * 2
        assert index.counts().instances == 1
        assert [change.kind for change in index.changes(0, 10)] == ["stored"]
        assert index.last_change() == index.changes(0, 10)[-1].seq

    def test_other_bytes_keep_first(self, index: FullIndex) -> None:
        first = put(index, entry("1", "1.1", "1.1.1", "a"))[0]
        other = entry("2", "2.1", "1.1.1", "b")
        kept = put(index, other)[0]
        assert kept == Applied("kept-first", first.ref, ("other-bytes-kept-aside",))
        assert put(index, other)[0].leftover
        assert [(row.blob, row.visible) for row in index.blobs()] == [(first.ref.blob, True), (other.blob, False)]
        put(index, entry("1", "1.1", "1.1.2", "c"))
        both = [(row.blob, row.sop_class) for row in index.blobs(["1.1.1", "1.1.9"])]
        assert both == [(first.ref.blob, CT), (other.blob, "")]
        assert list(index.blobs(["1.1.9"])) == []
        assert index.counts().studies == 1

    def test_other_bytes_replace(self, index: FullIndex) -> None:
        old = put(index, entry("1", "1.1", "1.1.1", "a"), entry("1", "1.1", "1.1.2"))[0]
        new = index.apply([entry("2", "2.1", "1.1.1", "b")], "replace")[0]
        assert new.kind == "replaced"
        assert new.ref.study == "2"
        assert [ref.instance for ref in index.select(Scope("1"))] == ["1.1.2"]
        assert index.select(Scope("2")) == [new.ref]
        assert {row.blob for row in index.blobs() if not row.visible} == {old.ref.blob}
        assert [one.attributes["00201208"]["Value"] for one in index.find(Query(Level.STUDY))] == [[1], [1]]
        assert index.changes(0, 10)[-1].kind == "replaced"

    def test_other_bytes_reject(self, index: FullIndex) -> None:
        first = put(index, entry("1", "1.1", "1.1.1", "a"))[0]
        refused = index.apply([entry("1", "1.1", "1.1.1", "b")], "reject")[0]
        assert refused == Applied("rejected", first.ref, leftover=True)
        assert [row.blob for row in index.blobs()] == [first.ref.blob]

    def test_conflicts_within_one_batch(self, index: FullIndex) -> None:
        batch = [entry("1", "1.1", "1.1.1", text) for text in "abab"]
        assert [done.kind for done in index.apply(batch, "keep-first")] == [
            "stored", "kept-first", "already-there", "kept-first",
        ]  # fmt: skip
        assert index.counts().instances == 1
        assert [done.kind for done in index.apply(batch, "replace")] == [
            "already-there", "replaced", "replaced", "replaced",
        ]  # fmt: skip
        assert index.counts().instances == 1
        assert next(index.find(Query(Level.STUDY))).attributes["00201208"]["Value"] == [1]

    def test_more_comes_into_the_same_transaction_or_all_is_undone(self, index: FullIndex) -> None:
        first, second, third = (entry("1", "1.1", f"1.1.{number}") for number in range(3))
        further: list[list[Entry]] = [[], [second, third]]
        applied = index.apply([first], "keep-first", lambda: _unseen(index, further.pop()))
        assert [done.ref.instance for done in applied] == ["1.1.0", "1.1.1", "1.1.2"]
        assert next(index.find(Query(Level.STUDY))).attributes["00201208"]["Value"] == [3]
        before = index.last_change()

        def fails() -> list[Entry]:
            raise OutOfResources("no space")

        for known in (first, entry("1", "1.2", "1.2.1"), entry("2", "2.1", "2.1.1")):
            with pytest.raises(OutOfResources):
                index.apply([known], "keep-first", fails)
        assert (index.counts().studies, index.counts().series, index.counts().instances) == (1, 1, 3)
        assert index.last_change() == before
        assert put(index, entry("2", "2.1", "2.1.1"))[0].kind == "stored"

    def test_a_series_in_two_studies_loses_nothing(self, index: FullIndex) -> None:
        put(index, entry("1", "9", "1.1.1"))
        assert put(index, entry("2", "9", "2.1.1"))[0].warnings == ("series-in-another-study",)
        assert [ref.instance for ref in index.select(Scope("2", "9"))] == ["2.1.1"]
        assert [ref.instance for ref in index.select(Scope("1", "9"))] == ["1.1.1"]

    def test_another_patient_in_a_study_loses_nothing(self, index: FullIndex) -> None:
        put(index, entry("1", "1.1", "1.1.1", x00100020="A"))
        done = put(index, entry("1", "1.1", "1.1.2", x00100020="B"))[0]
        assert (done.kind, done.warnings) == ("stored", ("patient-differs",))
        assert len(index.select(Scope("1"))) == 2

    def test_deleting(self, index: FullIndex) -> None:
        put(index, *(entry(str(s), f"{s}.{e}", f"{s}.{e}.{i}") for s in (1, 2) for e in (1, 2) for i in (1, 2)))
        put(index, entry("1", "1.1", "1.1.1", "other bytes"))
        with pytest.raises(NotFound):
            index.delete(Scope("1", "1.1", "7"), "nothing there")
        blobs = index.delete(Scope("1", "1.1", "1.1.1"), "wrong patient")
        assert len(blobs) == 2
        assert sorted(index.doomed()) == sorted(blobs)
        index.forget(blobs)
        assert index.doomed() == []
        assert len(index.delete(Scope("1", "1.1"), "")) == 1
        (study, _) = index.find(Query(Level.STUDY))
        assert study.attributes["00201206"]["Value"] == [1]
        assert study.attributes["00201208"]["Value"] == [2]
        assert len(index.delete(Scope("1"), "")) == 2
        assert uids(list(index.find(Query(Level.STUDY)))) == ["2"]
        assert [(one.kind, one.scope) for one in index.changes(8, 10)] == [
            ("deleted", Scope("1", "1.1", "1.1.1")), ("deleted", Scope("1", "1.1")), ("deleted", Scope("1")),
        ]  # fmt: skip
        assert index.changes(8, 1)[0].reason == "wrong patient"
        assert put(index, entry("1", "1.1", "1.1.1"))[0].kind == "stored"

    def test_order_limit_and_offset(self, index: FullIndex) -> None:
        put(index, *(entry(str(s), f"{s}.1", f"{s}.1.{i}", x00080020="20240101") for i in (1, 2) for s in (3, 1, 2)))
        assert uids(list(index.find(Query(Level.STUDY)))) == ["3", "1", "2"]
        assert uids(list(index.find(Query(Level.STUDY, limit=1, offset=1)))) == ["1"]
        assert uids(list(index.find(Query(Level.STUDY, limit=0)))) == []
        everything = ["3.1.1", "1.1.1", "2.1.1", "3.1.2", "1.1.2", "2.1.2"]
        assert uids(list(index.find(Query(Level.IMAGE)))) == everything
        assert uids(list(index.find(Query(Level.IMAGE, offset=4)))) == everything[4:]
        grouped = (Range(0x00080020, "20240101", None),)
        assert uids(list(index.find(Query(Level.IMAGE, grouped)))) == [
            "3.1.1", "3.1.2", "1.1.1", "1.1.2", "2.1.1", "2.1.2",
        ]  # fmt: skip
        assert index.count(Query(Level.IMAGE, grouped, limit=1)) == 6

    def test_studies_in_an_order_of_their_own(self, index: FullIndex) -> None:
        days = ["20240301", "", "20240101", "20240301", "", "20240201"]
        for number, day in enumerate(days):
            put(index, *(entry(f"{number}", f"{number}.1", f"{number}.1.{image}", x00080020=day, x00100010="Doe^J")
                         for image in range(number % 3 + 1)))  # fmt: skip

        def listed(*order: Order, **more: Any) -> str:
            query = Query(Level.STUDY, order=order, **more)
            whole = [one.study for one in index.find(query)]
            pages = [index.find(replace(query, limit=2, offset=at)) for at in range(0, len(whole), 2)]
            assert [one.study for page in pages for one in page] == whole
            return "".join(whole)

        date, images = 0x00080020, 0x00201208
        for words in ((), ("doe",)):
            assert listed(Order(date), words=words) == "250314"
            assert listed(Order(date, descending=True), words=words) == "305241"
            assert listed(Order(images, descending=True), Order(date), words=words) == "251403"
            assert listed(Order(images), words=words) == "031425"
        assert listed(Order(date), matches=(Range(date, "202402", None),)) == "503"
        assert listed(Order(date), words=("nobody",)) == ""

    def test_studies_by_what_is_typed(self, index: FullIndex) -> None:
        name, day = "Hong^Gil-Dong=洪^吉洞=홍^길동", "20240514"
        hong = {"x00100010": name, "x00100020": "Pä1", "x00080050": "A-17", "x00080020": day}
        put(index, entry("1", "1.1", "1.1.1", x00081030="CT Schädel", **hong))
        put(index, entry("2", "2.1", "2.1.1", x00100010="Doe^Jane", x00080060="MR"))
        put(index, entry("2", "2.2", "2.2.1", x00080060="SR"))

        def found(text: str) -> str:
            query = Query(Level.STUDY, words=typed(text))
            studies = "".join(one.study for one in index.find(query))
            assert index.count(query) == len(studies)
            return studies

        for text in ("hong", "GIL hong", "Hong, Gil-Dong", "洪吉", "길동 홍", "홍길동", "pÄ1", "17", "SCHÄDEL ct"):
            assert found(text) == "1", text
        for text in ("2024-05", "0514", "h?ng", "hong*dong"):
            assert found(text) == "1", text
        assert found("hong jane") == found("h[o]ng") == found("h?g") == ""
        assert found("") == found(" * ") == "12"
        assert index.tally(Query(Level.STUDY)) == {"CT": 1, "MR": 1, "SR": 1}
        assert index.tally(Query(Level.STUDY, words=("jane",))) == {"MR": 1, "SR": 1}
        assert index.tally(Query(Level.STUDY, (Range(0x00080020, "2024", None),))) == {"CT": 1}

    def test_what_an_answer_holds(self, index: FullIndex) -> None:
        put(index, entry("1", "1.1", "1.1.1", x00101010="033Y", x00181030="HEAD", x00280010=512, x00081030="x"))
        (plain,) = index.find(Query(Level.IMAGE))
        assert "00101010" not in plain.attributes
        assert plain.attributes["00280010"] == {"vr": "US", "Value": [512]}
        (more,) = index.find(Query(Level.IMAGE, (Equal(0x00181030, ("HEAD",)),), include=(0x00101010,)))
        assert more.attributes["00101010"]["Value"] == ["033Y"]
        assert more.attributes["00181030"]["Value"] == ["HEAD"]
        (study,) = index.find(Query(Level.STUDY, include=None))
        assert "00181030" not in study.attributes

    def test_attributes_nobody_keeps_do_not_restrict(self, index: FullIndex) -> None:
        put(index, entry("1", "1.1", "1.1.1"))
        query = Query(Level.STUDY, (Equal(0x00181030, ("x",)), Equal(0x00091001, ("y",))))
        assert uids(list(index.find(query))) == ["1"]
        assert unsupported(query) == (0x00181030, 0x00091001)

    def test_signs_of_sql_mean_themselves(self, index: FullIndex) -> None:
        names = ["50% off", "50_ off", "50x off", "a[b]c", "a'b\"c", "a\\b", "äöü", "50%"]
        put(index, *(entry(f"1.{n}", f"1.{n}.1", f"1.{n}.1.1", x00081030=text) for n, text in enumerate(names)))

        def found(pattern: str) -> list[str]:
            answers = index.find(Query(Level.STUDY, (Wildcard(0x00081030, pattern),)))
            return [one.attributes["00081030"]["Value"][0] for one in answers]

        assert found("50%*") == ["50% off", "50%"]
        assert found("50_*") == ["50_ off"]
        assert found("50? off") == ["50% off", "50_ off", "50x off"]
        assert found("a[b]*") == ["a[b]c"]
        assert found("a'b\"?") == ["a'b\"c"]
        assert found("?öü") == ["äöü"]
        assert found("*' OR 1=1 --") == []

    def test_a_reader_sees_whole_transactions(self, index: FullIndex) -> None:
        stop = threading.Event()
        seen: list[int] = []

        def read() -> None:
            while not stop.is_set():
                seen.append(len(index.select(Scope("1"))))

        reader = threading.Thread(target=read)
        reader.start()
        for batch in range(10):
            put(index, *(entry("1", "1.1", f"1.1.{batch}.{n}") for n in range(7)))
        stop.set()
        reader.join()
        assert all(count % 7 == 0 for count in seen)
        assert len(index.select(Scope("1"))) == 70

    def test_writers_take_turns(self, index: FullIndex) -> None:
        def write(number: int) -> None:
            for n in range(10):
                put(index, entry("1", f"1.{number}", f"1.{number}.{n}"))

        threads = [threading.Thread(target=write, args=(number,)) for number in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        (study,) = index.find(Query(Level.STUDY))
        assert study.attributes["00201206"]["Value"] == [4]
        assert study.attributes["00201208"]["Value"] == [40]
        assert len(index.changes(0, 100)) == 40

    def test_facts_and_known_blobs(self, index: FullIndex) -> None:
        assert index.fact("x") is None
        index.set_fact("x", "1")
        index.set_fact("x", "2")
        assert index.fact("x") == "2"
        assert index.last_instance() == 0
        first = put(index, entry("1", "1.1", "1.1.1"))[0].ref
        after = index.last_instance()
        second = put(index, entry("1", "1.1", "1.1.2"))[0].ref
        aside = entry("1", "1.1", "1.1.1", "other")
        put(index, aside)
        assert index.known_blobs(after) == {second.blob, aside.blob}
        assert index.known_blobs(0) == {first.blob, second.blob, aside.blob}

    def test_instances_of_no_patient_are_beside_the_studies(self, index: FullIndex) -> None:
        mine = non_patient_entry(HANGING_PROTOCOL, "7.1", x00720002="Chest")
        done = put(index, entry("1", "1.1", "1.1.1"), mine, non_patient_entry(COLOR_PALETTE, "7.2"))[1]
        ref = InstanceRef("", "", "7.1", HANGING_PROTOCOL, EXPLICIT, mine.blob, 1000, 300, mine.digest.hex(), "00" * 32)
        assert done == Applied("stored", ref)
        assert ref.scope == Scope("", "", "7.1")
        assert index.select(ref.scope) == [ref]
        assert [one.ref for one in index.numbered(ref.scope)] == [ref]
        assert index.select(Scope("", "", "1.1.1")) == []
        assert index.select(Scope("1", "1.1", "7.1")) == []
        for level in Level:
            assert index.count(Query(level)) == 1
            assert len(list(index.find(Query(level, include=None)))) == 1
        assert index.count(Query(Level.IMAGE, (Equal(0x00080018, ("7.1",)),))) == 0
        counts = index.counts()
        assert (counts.patients, counts.studies, counts.series, counts.instances) == (1, 1, 1, 3)
        assert (counts.bytes, counts.non_patient) == (3000, 2)
        assert counts.modalities == {"CT": 1}
        blobs = list(index.blobs(["7.1"]))
        assert [(row.scope, row.visible, row.sop_class) for row in blobs] == [(ref.scope, True, HANGING_PROTOCOL)]
        assert mine.blob in index.known_blobs(0)
        assert index.changes(1, 1)[0].scope == ref.scope

    def test_conflicts_of_instances_of_no_patient(self, index: FullIndex) -> None:
        first = non_patient_entry(HANGING_PROTOCOL, "7.1", "a")
        other = non_patient_entry(HANGING_PROTOCOL, "7.1", "b")
        ref = put(index, first)[0].ref
        assert put(index, first)[0] == Applied("already-there", ref, leftover=True)
        assert put(index, other)[0] == Applied("kept-first", ref, ("other-bytes-kept-aside",))
        assert index.apply([non_patient_entry(HANGING_PROTOCOL, "7.1", "c")], "reject")[0].kind == "rejected"
        # One UID is one object, whichever side of the fence it claims to be on.
        assert put(index, entry("1", "1.1", "7.1"))[0].kind == "kept-first"
        assert index.counts().studies == 0
        new = index.apply([non_patient_entry(HANGING_PROTOCOL, "7.1", "d")], "replace")[0]
        assert (new.kind, index.select(ref.scope)) == ("replaced", [new.ref])
        image = index.apply([entry("1", "1.1", "7.1", "e")], "replace")[0]
        assert (image.kind, index.select(ref.scope), index.counts().non_patient) == ("replaced", [], 0)
        back = index.apply([non_patient_entry(HANGING_PROTOCOL, "7.1", "f")], "replace")[0]
        assert (back.ref.scope, index.counts().studies) == (ref.scope, 0)
        blobs = {row.blob for row in index.blobs()}
        assert set(index.delete(ref.scope, "")) == blobs
        assert list(index.blobs()) == []
        with pytest.raises(NotFound):
            index.delete(ref.scope, "")

    def test_deleting_an_instance_of_no_patient_touches_nothing_else(self, index: FullIndex) -> None:
        put(index, entry("1", "1.1", "1.1.1"), *(non_patient_entry(COLOR_PALETTE, f"7.{n}") for n in range(3)))
        assert len(index.delete(Scope("", "", "7.1"), "not ours")) == 1
        assert uids(list(index.find(Query(Level.IMAGE, sop_classes=(COLOR_PALETTE,))))) == ["7.0", "7.2"]
        assert (index.counts().instances, index.counts().studies) == (3, 1)
        assert index.changes(4, 10)[0].scope == Scope("", "", "7.1")
        index.delete(Scope("1"), "")
        assert index.counts().non_patient == 2

    def test_searching_instances_of_no_patient(self, index: FullIndex) -> None:
        region = [attributes({0x00080100: "T-D3000", 0x00080102: "SRT"})]
        definition = [[attributes({0x00080060: name, 0x00082218: region})] for name in ("MR", "CT")]
        put(
            index,
            non_patient_entry(HANGING_PROTOCOL, "7.1", x00720002="Chest", x00720014=1, x0072000C=definition[0]),
            non_patient_entry(HANGING_PROTOCOL, "7.2", x00720002="Head 50%", x0072000A="20240105120000"),
            non_patient_entry(COLOR_PALETTE, "7.3", x00700080="HOT_IRON"),
            non_patient_entry(HANGING_PROTOCOL, "7.4", x00720002="Chest CT", x0072000C=definition[1]),
        )

        def found(*matches: Any, **more: Any) -> list[str | None]:
            query = Query(Level.IMAGE, matches, sop_classes=(HANGING_PROTOCOL,), **more)
            answers = uids(list(index.find(query)))
            assert index.count(query) >= len(answers)
            return answers

        assert found() == ["7.1", "7.2", "7.4"]
        assert found(limit=1, offset=1) == ["7.2"]
        assert found(limit=0) == []
        assert index.count(Query(Level.IMAGE, limit=1, sop_classes=(HANGING_PROTOCOL, COLOR_PALETTE))) == 4
        assert found(Wildcard(0x00720002, "Chest*")) == ["7.1", "7.4"]
        assert found(Wildcard(0x00720002, "*0%")) == ["7.2"]
        assert found(Equal(0x00080018, ("7.4", "7.3"))) == ["7.4"]
        assert found(Range(0x0072000A, "20240101", None)) == ["7.2"]
        assert found(InSequence(0x0072000C, (Equal(0x00080060, ("CT",)),))) == ["7.4"]
        code = InSequence(0x00082218, (Equal(0x00080100, ("T-D3000",)),))
        assert found(InSequence(0x0072000C, (code,)), Wildcard(0x00720002, "*t")) == ["7.1"]
        unknown = Query(Level.IMAGE, (Equal(0x00100020, ("P1",)),), sop_classes=(HANGING_PROTOCOL,))
        assert (unsupported(unknown), index.count(unknown)) == ((0x00100020,), 3)

    def test_what_an_answer_of_no_patient_holds(self, index: FullIndex) -> None:
        put(index, non_patient_entry(HANGING_PROTOCOL, "7.1", x00720014=1, x00720002="Chest"))
        every = Query(Level.IMAGE, sop_classes=(HANGING_PROTOCOL,))
        (answer,) = index.find(every)
        assert (answer.study, answer.series, answer.instance) == ("", "", "7.1")
        assert list(answer.attributes) == ["00080016", "00080018", "00083002", "00720002", "00720014"]
        (bare,) = index.find(Query(Level.IMAGE, include=(0x00720014,), sop_classes=(HANGING_PROTOCOL,), bare=True))
        assert bare.attributes == {
            "00080018": {"vr": "UI", "Value": ["7.1"]},
            "00720014": {"vr": "US", "Value": [1]},
        }

    def test_metadata_runs_follow_the_series(self, index: FullIndex) -> None:
        put(index, entry("1", "1.1", "1.1.1"), entry("1", "1.1", "1.1.2"))
        items = index.numbered(Scope("1"))
        assert [item.ref.instance for item in items] == ["1.1.1", "1.1.2"]
        series = items[0].series_id
        run = MetadataRun(series, items[-1].instance_id, 2, "token", b"body")
        index.add_metadata_run(run)
        index.add_metadata_run(run)
        assert index.metadata_runs(series) == [run]
        put(index, entry("1", "1.1", "1.1.3"))
        last = index.numbered(Scope("1"))[-1].instance_id
        index.add_metadata_run(MetadataRun(series, last, 2, "token", b"of another series of events"))
        assert index.metadata_runs(series) == [run]
        index.add_metadata_run(MetadataRun(series, last, 1, "token", b"third"))
        assert [one.body for one in index.metadata_runs(series)] == [b"body", b"third"]
        index.delete(Scope("1", "1.1", "1.1.2"), "")
        assert index.metadata_runs(series) == []
