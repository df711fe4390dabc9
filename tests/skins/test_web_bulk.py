"""All bulk data and all pixel data of a study, series or instance (PS3.18 sections 10.4.3.3.5 and 10.4.3.3.6)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom.data import get_testdata_file
from pydicom.dataset import Dataset
from pydicom.encaps import generate_frames
from pydicom.sequence import Sequence
from pydicom.uid import generate_uid

from skins.conftest import archived
from skins.web_harness import Web, parts_of, saved

BASE = "http://archive.test"
STUDY = generate_uid()
OCTETS, JPEG, RLE = "application/octet-stream", "image/jpeg", "image/dicom-rle"


def related(kind: str, syntax: str = "") -> str:
    return f'multipart/related; type="{kind}"' + (f"; transfer-syntax={syntax}" if syntax else "")


@pytest.fixture(scope="module")
def objects() -> dict[str, pydicom.Dataset]:
    """A study of native, RLE and JPEG pixel data, floating point numbers, bulk data in a sequence, and of none."""
    made = {
        name: pydicom.dcmread(get_testdata_file(file))
        for name, file in {
            "ct": "CT_small.dcm",
            "rle": "MR_small_RLE.dcm",
            "jpeg": "examples_ybr_color.dcm",
            "sr": "test-SR.dcm",
            "float": "CT_small.dcm",
        }.items()
    }
    item = Dataset()
    item.add_new(0x00420011, "OB", bytes(range(256)) * 400)
    made["ct"].add_new(0x00081140, "SQ", Sequence([Dataset(), item]))
    numbers = made["float"]
    del numbers.PixelData
    numbers.FloatPixelData = np.linspace(-1, 1, 128 * 128, dtype="<f4").tobytes()
    for data_set in made.values():
        data_set.remove_private_tags()
        data_set.StudyInstanceUID, data_set.SeriesInstanceUID = STUDY, generate_uid()
        data_set.SOPInstanceUID = data_set.file_meta.MediaStorageSOPInstanceUID = generate_uid()
    return made


@pytest.fixture(scope="module")
def web(tmp_path_factory: pytest.TempPathFactory, objects: dict[str, pydicom.Dataset]) -> Iterator[Web]:
    with archived(Path(tmp_path_factory.mktemp("bulk")) / "data") as client:
        for data_set in objects.values():  # one after the other, for their order
            assert client.store(saved(data_set)).status_code == 200
        yield client


def path_of(data_set: pydicom.Dataset) -> str:
    return f"/dicomweb/studies/{STUDY}/series/{data_set.SeriesInstanceUID}/instances/{data_set.SOPInstanceUID}"


def told(web: Web, path: str, accept: str | None = None) -> list[tuple[str, str, bytes]]:
    """Location below the service, media type and bytes of each part."""
    answer = web.get(path, accept)
    assert answer.status_code == 200, answer.text
    return [
        (fields["content-location"].removeprefix(BASE), fields["content-type"].partition(";")[0], body)
        for fields, body in parts_of(answer)
    ]


def test_each_value_as_its_uri_gives_it(web: Web, objects: dict[str, pydicom.Dataset]) -> None:
    """All that metadata name, and nothing else, at three levels and in the order of the instances."""
    found = told(web, f"/dicomweb/studies/{STUDY}/bulkdata", related(OCTETS))
    ct = path_of(objects["ct"])
    assert [location for location, _, _ in found] == [
        f"{ct}/bulkdata/00081140/2/00420011",
        f"{ct}/bulkdata/7FE00010",
        f"{path_of(objects['rle'])}/bulkdata/7FE00010",
        f"{path_of(objects['jpeg'])}/bulkdata/7FE00010",
        f"{path_of(objects['float'])}/bulkdata/7FE00008",
    ]
    for location, kind, body in found:
        alone = web.get(location, OCTETS if "7FE00010" not in location else related(OCTETS))
        bodies = [part for _, part in parts_of(alone)] if "7FE00010" in location else [alone.content]
        assert (kind, [body]) == (OCTETS, bodies)
    assert found[1][2] == objects["ct"].PixelData
    assert found[4][2] == objects["float"].FloatPixelData
    assert told(web, f"{ct.rpartition('/instances/')[0]}/bulkdata") == found[:2]
    assert told(web, f"{ct}/bulkdata") == found[:2]
    assert told(web, f"{ct}/pixeldata") == found[1:2]
    assert told(web, f"/dicomweb/studies/{STUDY}/pixeldata", related(OCTETS)) == found[1:]


def test_in_compressed_media_types(web: Web, objects: dict[str, pydicom.Dataset]) -> None:
    """Compressed frames are a part each; what cannot be had as the client wants it is left out."""
    frames = list(generate_frames(objects["jpeg"].PixelData, number_of_frames=30))
    study = f"/dicomweb/studies/{STUDY}/pixeldata"
    stored = told(web, study, 'multipart/related; type="*/*"; transfer-syntax=*')
    assert [kind for _, kind, _ in stored] == [OCTETS, RLE, *[JPEG] * 30, OCTETS]
    assert [body for _, kind, body in stored if kind == JPEG] == frames
    only = told(web, study, related(JPEG, "*"))
    assert only == [(f"{path_of(objects['jpeg'])}/bulkdata/7FE00010", JPEG, frame) for frame in frames]


def test_refusals_and_conditions(web: Web, objects: dict[str, pydicom.Dataset]) -> None:
    sr, ct = path_of(objects["sr"]), path_of(objects["ct"])
    assert [web.get(f"{sr}/{what}").status_code for what in ("bulkdata", "pixeldata")] == [404, 404]
    assert web.get("/dicomweb/studies/1.2.3/bulkdata").status_code == 404
    assert web.get("/dicomweb/studies/x/pixeldata").status_code == 400
    refused = web.get(f"{ct}/pixeldata", related("video/mp4"))
    assert (refused.status_code, refused.json()["error"]["code"]) == (406, "not-acceptable")
    assert web.get(f"{ct}/pixeldata", OCTETS).status_code == 406, "several values are in parts"
    answer = web.get(f"/dicomweb/studies/{STUDY}/bulkdata")
    again = web.get(f"/dicomweb/studies/{STUDY}/bulkdata", headers={"if-none-match": answer.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")
    other = web.get(f"/dicomweb/studies/{STUDY}/bulkdata", related(JPEG, "*"))
    assert other.headers["etag"] != answer.headers["etag"]
    head = web.request("HEAD", f"/dicomweb/studies/{STUDY}/bulkdata")
    assert (head.status_code, head.content) == (200, b"")
