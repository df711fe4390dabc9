"""What the study list asks beyond QIDO-RS: studies by words, in an order, and how many there are of each modality."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pydicom
import pytest
from pydicom.data import get_testdata_file
from pydicom.uid import generate_uid

from skins.conftest import archived
from skins.web_harness import Web, copies

STUDIES = "/dicomweb/studies"


@pytest.fixture(scope="module")
def list_of_studies(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Web]:
    """Seven studies, the patients A to G; every third is of MR, and one has no date."""
    with archived(tmp_path_factory.mktemp("listing")) as web:
        for number, letter in enumerate("ABCDEFG"):
            ds = pydicom.dcmread(get_testdata_file("CT_small.dcm"))
            ds.PatientName, ds.PatientID = f"Family^{letter}", letter
            ds.StudyDate = "" if letter == "C" else f"2024010{number % 4 + 1}"
            ds.StudyDescription, ds.AccessionNumber = f"Chest {number}", f"N{number}"
            ds.Modality = "CT" if number % 3 else "MR"
            ds.StudyInstanceUID = generate_uid()
            (data,) = copies(ds, 1, SeriesInstanceUID=generate_uid())
            assert web.store(data).status_code == 200
        yield web


def found(web: Web, query: str) -> str:
    answer = web.get(f"{STUDIES}?{query}")
    assert answer.status_code == 200
    patients: list[dict[str, Any]] = answer.json()
    return "".join(one["00100020"]["Value"][0] for one in patients)


@pytest.mark.parametrize(
    ("expected", "query"),
    [
        ("AEBFGDC", "orderby=StudyDate,PatientID"),
        ("DGBFAEC", "orderby=-StudyDate,PatientID"),
        ("GFEDCBA", "orderby=-PatientName"),
        ("GFEDCBA", "orderby=-00100020"),
        ("BCEFADG", "orderby=%2BModalitiesInStudy,PatientID"),
        ("CD", "orderby=PatientID&limit=2&offset=2"),
        ("F", "words=chest%205"),
        ("F", "words=FAMILY,%20f%20n5"),
        ("GDA", "words=chest&orderby=-PatientID&ModalitiesInStudy=MR"),
        ("AE", "words=2024-01-01"),
        ("", "words=chest%20nowhere"),
    ],
)
def test_studies_by_words_and_in_an_order(list_of_studies: Web, expected: str, query: str) -> None:
    assert expected == found(list_of_studies, query)


def test_the_total_is_told_with_each_page(list_of_studies: Web) -> None:
    page = list_of_studies.get(f"{STUDIES}?words=chest&orderby=PatientID&limit=2&offset=4")
    assert ["7", 2] == [page.headers["x-total-count"], len(page.json())]


def test_how_many_studies_have_each_modality(list_of_studies: Web) -> None:
    def tally(query: str) -> dict[str, int]:
        answer = list_of_studies.get(f"/dicomweb/tally?{query}")
        assert ["application/json", "no-store"] == [answer.headers["content-type"], answer.headers["cache-control"]]
        modalities: dict[str, int] = answer.json()["modalities"]
        return modalities

    assert {"CT": 4, "MR": 3} == tally("")
    assert {"CT": 2} == tally("StudyDate=20240102")
    assert {"MR": 1} == tally("words=g&limit=1")
    assert {} == tally("PatientID=nobody")


def test_what_is_not_supported_is_said(list_of_studies: Web) -> None:
    answer = list_of_studies.get(f"{STUDIES}?orderby=-PatientID,StudyID,x'y")
    assert "GFEDCBA" == "".join(one["00100020"]["Value"][0] for one in answer.json())
    assert "StudyID" in answer.headers["warning"]
    assert "'" not in answer.headers["warning"]
    series = list_of_studies.get("/dicomweb/series?orderby=PatientID&words=chest")
    assert 7 == len(series.json())
    assert "orderby, words" in series.headers["warning"]
    assert 400 == list_of_studies.get(f"{STUDIES}?words=" + "a%20" * 33).status_code
    assert 400 == list_of_studies.get(f"{STUDIES}?words=a&words=b").status_code


def test_an_older_archive_learns_its_words(tmp_path: Path) -> None:
    """An index from before the list was searched by words has them after it was opened."""
    import sqlalchemy as sa
    from alembic import command
    from alembic.config import Config

    from isocenter.index import schema
    from isocenter.index.sql import SqlIndex
    from isocenter.model import Level, Query
    from isocenter.testing.index_suite import entry, put

    path = tmp_path / "index.sqlite"
    index = SqlIndex(path)
    put(index, *(entry(f"1.{n}", f"1.{n}.1", f"1.{n}.1.1", x00100010=f"Doe^{n}") for n in range(1, 4)))
    index.close()
    engine = sa.create_engine(f"sqlite:///{path}")
    with engine.begin() as connection:
        config = Config()
        config.set_main_option("script_location", str(Path(schema.__file__).parent / "migrations"))
        config.set_main_option("path_separator", "os")
        config.attributes["connection"] = connection
        command.downgrade(config, "0006")
        assert "listed" not in {column["name"] for column in sa.inspect(connection).get_columns("study")}
    engine.dispose()
    index = SqlIndex(path)
    assert ["1.2"] == [one.study for one in index.find(Query(Level.STUDY, words=("doe", "2")))]
    index.close()
