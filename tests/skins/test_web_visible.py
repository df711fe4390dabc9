"""Who may see some studies only: what one may not see does not exist, by any route. And what is deleted is recorded."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pydicom
import pytest
from pydicom.data import get_testdata_file
from pydicom.uid import generate_uid

from isocenter.archive.archive import Archive
from isocenter.errors import Forbidden
from isocenter.model import Origin
from isocenter.settings import Settings
from isocenter.web.app import create_app
from isocenter.web.identity import Identity
from isocenter.web.site_tokens import issue
from isocenter.web.visible import VisibleArchive
from skins.web_harness import Web, portal, saved, web_of

STUDIES = "/dicomweb/studies"


@dataclass
class Hospital:
    """Three studies: of P1 from CT1, of P2 from CT2 (and one object that CT1 added), of P3 by HTTP."""

    web: Web
    uids: dict[str, tuple[str, str, str]]
    tokens: dict[str, str]

    def ask(self, who: str, path: str, method: str = "GET", **options: Any) -> Any:
        headers = {"authorization": f"Bearer {self.tokens[who]}"} | options.pop("headers", {})
        return self.web.request(method, path, headers=headers, **options)

    def found(self, who: str, path: str = STUDIES) -> set[str]:
        return {one["00100020"]["Value"][0] for one in self.ask(who, f"{path}?includefield=PatientID").json()}

    def path(self, patient: str) -> str:
        study, series, instance = self.uids[patient]
        return f"{STUDIES}/{study}/series/{series}/instances/{instance}"


def made(patient: str, study: str | None = None) -> tuple[bytes, tuple[str, str, str]]:
    ds = pydicom.dcmread(get_testdata_file("CT_small.dcm"))
    ds.PatientID = patient
    ds.StudyInstanceUID = study or generate_uid()
    ds.SeriesInstanceUID = generate_uid()
    ds.SOPInstanceUID = ds.file_meta.MediaStorageSOPInstanceUID = generate_uid()
    return saved(ds), (ds.StudyInstanceUID, ds.SeriesInstanceUID, ds.SOPInstanceUID)


@contextmanager
def hospital_at(folder: Path) -> Iterator[Hospital]:
    file = folder / "tokens"
    every = ("read", "write", "delete")
    tokens = {
        "all": issue(file, "all", every)[1],
        "p1": issue(file, "p1", every, patients=["P1"])[1],
        "p1 and p3": issue(file, "both", every, patients=["P1", "P3"])[1],
        "ct1": issue(file, "ct1", every, aets=["CT1"])[1],
        "ct2": issue(file, "ct2", every, aets=["CT2"])[1],
        "ct": issue(file, "ct", every, aets=["CT", "T1", "ISOCENTER"])[1],
        "p2 of ct2": issue(file, "p2ct2", every, patients=["P2"], aets=["CT2"])[1],
        "p1 of ct2": issue(file, "p1ct2", every, patients=["P1"], aets=["CT2"])[1],
        "nobody": issue(file, "nobody", every, patients=[])[1],
        "stars": issue(file, "stars", every, patients=["*", "P?", "P%"])[1],
    }
    settings = Settings(archive_data=folder / "data", archive_minimum_free=0).replace(
        web_hosts="archive.test", web_tokens=str(file)
    )
    uids = {}
    with portal() as running:
        archive = running.call(Archive.open, settings.archive_data, settings)
        with web_of(create_app(archive, settings), archive, running) as web:
            for patient, sender in (("P1", "CT1"), ("P2", "CT2"), ("P3", "")):
                data, uids[patient] = made(patient)
                origin = Origin("dimse", "10.0.0.9:104", sender, "ISOCENTER") if sender else Origin("web", "CT1", "CT1")
                running.call(archive.ingest, [data], origin)
            more, _ = made("P2", uids["P2"][0])
            running.call(archive.ingest, [more], Origin("dimse", "10.0.0.9:104", "CT1", "ISOCENTER"))
            yield Hospital(web, uids, tokens)
        running.call(archive.close)


@pytest.fixture
def hospital(tmp_path: Path) -> Iterator[Hospital]:
    with hospital_at(tmp_path) as found:
        yield found


@pytest.fixture(scope="module")
def quiet_hospital(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hospital]:
    """One where nobody changes anything."""
    with hospital_at(tmp_path_factory.mktemp("hospital")) as found:
        yield found


SEEN = {
    "all": {"P1", "P2", "P3"},
    "p1": {"P1"},
    "p1 and p3": {"P1", "P3"},
    "ct1": {"P1", "P2"},
    "ct2": {"P2"},
    "ct": set(),
    "p2 of ct2": {"P2"},
    "p1 of ct2": set(),
    "nobody": set(),
    "stars": set(),
}
OTHERS = ("/dicomweb/changes", "/dicomweb/events", "/metrics", "/dicomweb/color-palettes/1.2.3")
BELOW = ("", "/metadata", "/frames/1", "/rendered", "/thumbnail", "/bulkdata/7FE00010")


@pytest.mark.parametrize("who", list(SEEN))
def test_what_one_may_not_see_does_not_exist(quiet_hospital: Hospital, who: str) -> None:
    for path in (STUDIES, "/dicomweb/series", "/dicomweb/instances"):
        assert quiet_hospital.found(who, path) == SEEN[who]
    for patient, (study, series, _) in quiet_hospital.uids.items():
        there = patient in SEEN[who]
        searched = quiet_hospital.ask(who, f"{STUDIES}?PatientID={patient}").json()
        assert len(searched) == (1 if there else 0)
        assert bool(quiet_hospital.ask(who, f"{STUDIES}/{study}/series").json()) == there
        scopes = [f"{STUDIES}/{study}", f"{STUDIES}/{study}/series/{series}", quiet_hospital.path(patient)]
        for below in BELOW:
            path = quiet_hospital.path(patient) + below
            assert (quiet_hospital.ask(who, path).status_code == 200) == there, path
            if not there:
                assert quiet_hospital.ask(who, path).status_code == 404, path
        for scope in scopes:
            asked = dict(zip(("studyUID", "seriesUID", "objectUID"), quiet_hospital.uids[patient], strict=True))
            by_uri = quiet_hospital.ask(who, "/dicomweb/wado", params={"requestType": "WADO", **asked})
            assert by_uri.status_code == (200 if there else 404)
            for below in ("", "/metadata", "/rendered", "/thumbnail"):
                assert quiet_hospital.ask(who, scope + below).status_code == (200 if there else 404), scope + below
    limited = quiet_hospital.ask(who, f"{STUDIES}?limit=1")
    more = len(SEEN[who]) - 1
    assert limited.headers.get("warning", "").endswith(f"{more} additional results that can be requested") == (more > 0)


@pytest.mark.parametrize("who", [name for name in SEEN if name != "all"])
def test_what_tells_of_everything_is_refused(quiet_hospital: Hospital, who: str) -> None:
    for path in OTHERS:
        assert quiet_hospital.ask(who, path).status_code in (403, 404), path


def test_another_study_in_the_path_opens_nothing(quiet_hospital: Hospital) -> None:
    (own, _, _), (_, series, instance) = quiet_hospital.uids["P1"], quiet_hospital.uids["P2"]
    for below in BELOW:
        path = f"{STUDIES}/{own}/series/{series}/instances/{instance}{below}"
        assert quiet_hospital.ask("p1", path).status_code == 404, path


def test_objects_of_no_patient_are_not_there(quiet_hospital: Hospital) -> None:
    assert quiet_hospital.ask("p1", "/dicomweb/color-palettes").json() == []
    assert quiet_hospital.ask("p1", "/dicomweb/inventories/1.2.3").status_code == 404


def store(hospital: Hospital, who: str, data: bytes) -> int:
    headers = {"authorization": f"Bearer {hospital.tokens[who]}"}
    return hospital.web.store(data, headers=headers).status_code


def test_only_what_one_may_see_can_be_stored(hospital: Hospital) -> None:
    mine, uids = made("P1")
    assert store(hospital, "p1", mine) == 200
    assert hospital.ask("p1", f"{STUDIES}/{uids[0]}").status_code == 200
    assert store(hospital, "p1", made("P2")[0]) == 403
    assert store(hospital, "p1", made("")[0]) == 403
    assert store(hospital, "p1", made("P1", hospital.uids["P2"][0])[0]) == 403, "into a study of another"
    ds = pydicom.dcmread(get_testdata_file("CT_small.dcm"))
    ds.PatientID = "P1"
    ds.StudyInstanceUID = generate_uid()
    ds.SOPInstanceUID = ds.file_meta.MediaStorageSOPInstanceUID = hospital.uids["P2"][2]
    assert store(hospital, "p1", saved(ds)) == 403, "in place of an object of another"
    assert store(hospital, "nobody", made("P1")[0]) == 403
    assert store(hospital, "ct1", made("P9")[0]) == 403, "a new study comes from the device"
    assert store(hospital, "ct1", made("P1", hospital.uids["P1"][0])[0]) == 200
    both = hospital.web.store(
        made("P1")[0], made("P2")[0], headers={"authorization": f"Bearer {hospital.tokens['p1']}"}
    )
    assert both.status_code == 202
    assert both.json()["00081198"]["Value"][0]["00081197"]["Value"] == [0x0124]
    assert hospital.found("all") == {"P1", "P2", "P3"}
    assert len(hospital.ask("all", f"{STUDIES}?PatientID=P2").json()) == 1


def test_only_what_one_may_see_can_be_deleted_and_it_is_recorded(
    hospital: Hospital, caplog: pytest.LogCaptureFixture
) -> None:
    (own, series, instance), (other, _, _) = hospital.uids["P1"], hospital.uids["P2"]
    assert hospital.ask("p1", f"{STUDIES}/{other}?reason=x", "DELETE").status_code == 404
    assert hospital.ask("p1", f"{STUDIES}/{own}", "DELETE").status_code == 400, "a reason is needed"
    for bad in ("", "%20", "a%0ab", "x" * 1001, "a&reason=b"):
        assert hospital.ask("p1", f"{STUDIES}/{own}?reason={bad}", "DELETE").status_code == 400
    assert hospital.ask("p1", f"{STUDIES}/{own}/series/1.2.3?reason=x", "DELETE").status_code == 404
    assert hospital.ask("all", f"{STUDIES}/{other}/series/{series}?reason=x", "DELETE").status_code == 404
    assert hospital.ask("p1", f"{STUDIES}/1..2?reason=x", "DELETE").status_code == 400
    assert hospital.found("all") == {"P1", "P2", "P3"}
    why = "Doe^Jane%20was%20scanned%20as%20Roe%20%ED%95%9C"
    assert hospital.ask("p1", f"{hospital.path('P1')}?reason={why}", "DELETE").status_code == 204
    assert hospital.ask("all", f"{STUDIES}/{own}").status_code == 404, "it was the last one of its study"
    assert hospital.ask("p1", f"{hospital.path('P1')}?reason={why}", "DELETE").status_code == 404
    assert (
        hospital.ask("all", f"{STUDIES}/{other}/series/{hospital.uids['P2'][1]}?reason=x", "DELETE").status_code == 204
    )
    assert hospital.ask("all", f"{STUDIES}/{other}?reason=whole", "DELETE").status_code == 204
    changes = hospital.web.portal.call(hospital.web.archive.changes, 0)
    record = [(one.scope.instance, one.by, one.reason) for one in changes if one.kind == "deleted"]
    assert record == [(instance, "p1", "Doe^Jane was scanned as Roe 한"), (None, "all", "x"), (None, "all", "whole")]
    told = hospital.ask("all", "/dicomweb/changes").json()["changes"]
    assert [(one["by"], one["reason"]) for one in told if one["kind"] == "deleted"] == [one[1:] for one in record]
    assert f"deleted by=p1 study={own} series={series} instance={instance} objects=1 reason=given" in caplog.text
    assert "Doe" not in caplog.text


def test_what_is_yet_to_be_done_for_a_peer_is_not_deleted_by_the_way(hospital: Hospital) -> None:
    from isocenter.index.jobs import Wanted

    study, series, instance = hospital.uids["P2"]
    wanted = Wanted("forward", "PACS", items=(instance,))
    hospital.web.archive._index.jobs.add([wanted], 0.0)
    for path in (f"{STUDIES}/{study}", f"{STUDIES}/{study}/series/{series}", hospital.path("P2")):
        refused = hospital.ask("all", f"{path}?reason=x", "DELETE")
        assert (refused.status_code, refused.json()["error"]["code"]) == (409, "still-wanted")
    assert hospital.ask("all", f"{STUDIES}/{hospital.uids['P1'][0]}?reason=x", "DELETE").status_code == 204
    assert hospital.ask("all", f"{STUDIES}/{study}?reason=x&force=yes", "DELETE").status_code == 400
    assert hospital.ask("all", f"{STUDIES}/{study}?reason=x&force=true", "DELETE").status_code == 204


def test_a_reason_may_be_left_out_where_that_is_said(tmp_path: Path) -> None:
    settings = Settings(archive_data=tmp_path, archive_minimum_free=0).replace(
        web_hosts="archive.test", web_open_scopes="read,delete", web_delete_reason=False
    )
    with portal() as running:
        archive = running.call(Archive.open, settings.archive_data, settings)
        data, (study, _, _) = made("P1")
        running.call(archive.ingest, [data], Origin("test"))
        with web_of(create_app(archive, settings), archive, running) as web:
            assert web.request("DELETE", f"{STUDIES}/{study}").status_code == 204
        running.call(archive.close)


def test_who_looked_at_what_is_said_once(quiet_hospital: Hospital, caplog: pytest.LogCaptureFixture) -> None:
    quiet_hospital.web.portal.call(flushed, quiet_hospital.web)  # what others asked before
    caplog.set_level("INFO", "isocenter.audit")
    for _ in range(3):
        quiet_hospital.ask("p1", f"{quiet_hospital.path('P1')}/frames/1")
    quiet_hospital.ask("p1", f"{STUDIES}?PatientID=P1&PatientName=Doe*")
    quiet_hospital.ask("p1", f"{quiet_hospital.path('P2')}/frames/1")
    quiet_hospital.web.portal.call(flushed, quiet_hospital.web)
    study = quiet_hospital.uids["P1"][0]
    said = [record.getMessage() for record in caplog.records if record.name == "isocenter.audit"]
    for beginning, times in (
        (f"DICOM Instances Accessed user=p1 from=127.0.0.1 study={study} requests=", 3),
        ("Query user=p1 from=127.0.0.1 requests=", 1),
    ):
        counts = [int(line.removeprefix(beginning)) for line in said if line.startswith(beginning)]
        assert sum(counts) == times
        assert len(counts) <= 2, "one line, two if it happened to be time for one in between"
    assert not [line for line in said if quiet_hospital.uids["P2"][0] in line]
    assert "Doe" not in caplog.text


async def flushed(web: Web) -> None:
    web.app.state.gate.seen.flush()  # type: ignore[attr-defined]


def test_every_verb_of_the_archive_is_narrowed_or_refused() -> None:
    """A new verb is refused until somebody decides what it means for those who may see some studies only."""
    narrowed = {name for name in vars(VisibleArchive) if not name.startswith("_")} | {"settings"}
    assert narrowed <= {name for name, _ in inspect.getmembers(Archive)} | {"settings", "refusal"}
    for who in (
        Identity("a", frozenset(), patients=frozenset({"P1"})),
        Identity("a", frozenset(), aets=frozenset({"X"})),
    ):
        archive = VisibleArchive(FakeVerbs(), who)  # type: ignore[arg-type]
        for name in {name for name in vars(Archive) if not name.startswith("_")} - narrowed:
            with pytest.raises(Forbidden):
                getattr(archive, name)


class FakeVerbs:
    settings = Settings()
