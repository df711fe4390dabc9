"""dicomweb-client (PyPI), an independent user agent, searches, retrieves and stores against a running server."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path

import imagecodecs
import numpy as np
import pydicom
import pytest
import requests
from pydicom.data import get_testdata_file
from pydicom.uid import generate_uid

import ours

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # its dependencies' own
    from dicomweb_client.api import DICOMwebClient

pytestmark = pytest.mark.interop

EXPLICIT = "1.2.840.10008.1.2.1"


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DICOMwebClient]:
    with ours.node(tmp_path_factory.mktemp("data"), archive_minimum_free=0) as node:
        yield DICOMwebClient(f"{node.url}dicomweb")


@pytest.fixture(scope="module")
def stored(client: DICOMwebClient) -> list[pydicom.Dataset]:
    """Four CT slices in one request, and single objects of other kinds."""
    slices = []
    for number in range(1, 5):
        data_set = pydicom.dcmread(get_testdata_file("CT_small.dcm"))
        data_set.SOPInstanceUID = data_set.file_meta.MediaStorageSOPInstanceUID = generate_uid()
        data_set.InstanceNumber = number
        slices.append(data_set)
    answer = client.store_instances(slices)
    assert [item.ReferencedSOPInstanceUID for item in answer.ReferencedSOPSequence] == [
        data_set.SOPInstanceUID for data_set in slices
    ]
    assert "FailedSOPSequence" not in answer
    for name in ("MR_small_RLE.dcm", "SC_rgb_jpeg_dcmtk.dcm", "examples_ybr_color.dcm"):
        client.store_instances([pydicom.dcmread(get_testdata_file(name))])
    return slices


def where(data_set: pydicom.Dataset) -> tuple[str, str, str]:
    return data_set.StudyInstanceUID, data_set.SeriesInstanceUID, data_set.SOPInstanceUID


@pytest.mark.interop(service="QIDO-RS", peer="dicomweb-client", role="SCP")
def test_search(client: DICOMwebClient, stored: list[pydicom.Dataset]) -> None:
    study, series, _ = where(stored[0])
    assert len(client.search_for_studies()) == 4
    (found,) = client.search_for_studies(search_filters={"PatientID": stored[0].PatientID, "StudyDate": "20040101-"})
    assert pydicom.Dataset.from_json(found).StudyInstanceUID == study
    assert client.search_for_studies(search_filters={"PatientName": "Nobody*"}) == []
    assert len(client.search_for_series()) == 4
    (found,) = client.search_for_series(study, fields=["SeriesDescription", "00081030"])
    assert pydicom.Dataset.from_json(found).SeriesInstanceUID == series
    assert len(client.search_for_instances(study, series)) == 4
    assert len(client.search_for_instances(study, series, limit=3, offset=2)) == 2
    assert len(client.search_for_instances(study, get_remaining=True, limit=1)) == 4
    assert len(client.search_for_instances(search_filters={"InstanceNumber": 2, "Modality": "CT"})) == 1


@pytest.mark.interop(service="WADO-RS", peer="dicomweb-client", role="SCP")
def test_retrieve_whole_objects(client: DICOMwebClient, stored: list[pydicom.Dataset]) -> None:
    study, series, instance = where(stored[0])
    for got in (client.retrieve_study(study), client.retrieve_series(study, series), client.iter_series(study, series)):
        assert {data_set.SOPInstanceUID for data_set in got} == {data_set.SOPInstanceUID for data_set in stored}
    got = client.retrieve_instance(study, series, instance)
    assert got == stored[0]
    with pytest.raises(requests.HTTPError, match="404"):
        client.retrieve_instance(study, series, "1.2.3")


@pytest.mark.interop(service="WADO-RS", peer="dicomweb-client", role="SCP")
def test_retrieve_in_another_transfer_syntax(client: DICOMwebClient, stored: list[pydicom.Dataset]) -> None:
    expected = pydicom.dcmread(get_testdata_file("MR_small_RLE.dcm"))
    got = client.retrieve_instance(*where(expected), media_types=(("application/dicom", EXPLICIT),))
    assert got.file_meta.TransferSyntaxUID == EXPLICIT
    assert np.array_equal(got.pixel_array, expected.pixel_array)
    with pytest.raises(requests.HTTPError, match="406"):
        client.retrieve_instance(*where(expected), media_types=(("application/dicom", "1.2.840.10008.1.2.4.102"),))


@pytest.mark.interop(service="WADO-RS", peer="dicomweb-client", role="SCP")
def test_retrieve_metadata(client: DICOMwebClient, stored: list[pydicom.Dataset]) -> None:
    study, series, instance = where(stored[0])
    assert len(client.retrieve_study_metadata(study)) == 4
    assert len(client.retrieve_series_metadata(study, series)) == 4
    model = client.retrieve_instance_metadata(study, series, instance)
    got = pydicom.Dataset.from_json(model, bulk_data_uri_handler=lambda uri: bytes(client.retrieve_bulkdata(uri)[0]))
    assert got.PatientName == stored[0].PatientName
    assert got.PixelData == stored[0].PixelData
    assert {element.tag for element in got} == {e.tag for e in stored[0] if e.tag.element and e.tag != 0xFFFCFFFC}


@pytest.mark.interop(service="WADO-RS", peer="dicomweb-client", role="SCP")
def test_retrieve_frames(client: DICOMwebClient, stored: list[pydicom.Dataset]) -> None:
    (frame,) = client.retrieve_instance_frames(*where(stored[0]), [1])
    assert frame == stored[0].PixelData
    movie = pydicom.dcmread(get_testdata_file("examples_ybr_color.dcm"))
    codestreams = list(pydicom.encaps.generate_frames(movie.PixelData, number_of_frames=30))
    jpeg = (("image/jpeg", "1.2.840.10008.1.2.4.50"),)
    got = client.retrieve_instance_frames(*where(movie), [3, 30], media_types=jpeg)
    assert got == [codestreams[2], codestreams[29]]
    assert list(client.iter_instance_frames(*where(movie), [3], media_types=jpeg)) == [codestreams[2]]
    octets = client.retrieve_instance_frames(*where(movie), [1], media_types=(("application/octet-stream", EXPLICIT),))
    assert len(octets[0]) == 240 * 320 * 3
    with pytest.raises(requests.HTTPError, match="404"):
        client.retrieve_instance_frames(*where(movie), [31])


@pytest.mark.interop(service="WADO-RS", peer="dicomweb-client", role="SCP")
def test_retrieve_rendered(client: DICOMwebClient, stored: list[pydicom.Dataset]) -> None:
    png = client.retrieve_instance_rendered(*where(stored[0]), media_types=("image/png",))
    assert imagecodecs.png_decode(png).shape == (128, 128)
    jpeg = client.retrieve_instance_frames_rendered(
        *where(stored[0]), [1], media_types=("image/jpeg",), params={"viewport": "64,64", "quality": 95}
    )
    assert imagecodecs.jpeg_decode(jpeg).shape == (64, 64)


@pytest.mark.interop(service="STOW-RS", peer="dicomweb-client", role="SCP")
def test_store_into_a_study(client: DICOMwebClient, stored: list[pydicom.Dataset]) -> None:
    study = generate_uid()
    data_set = pydicom.dcmread(get_testdata_file("MR_small.dcm"))
    data_set.StudyInstanceUID = study
    data_set.SOPInstanceUID = data_set.file_meta.MediaStorageSOPInstanceUID = generate_uid()
    with pytest.raises(requests.HTTPError, match="409"):
        client.store_instances([data_set], study_instance_uid=where(stored[0])[0])
    answer = client.store_instances([data_set], study_instance_uid=study)
    assert answer.RetrieveURL.endswith(f"/dicomweb/studies/{study}")


@pytest.mark.interop(service="STOW-RS", peer="dicomweb-client", role="SCP")
def test_a_large_object_goes_in_and_out_in_chunks(client: DICOMwebClient, tmp_path: Path) -> None:
    data_set = pydicom.dcmread(get_testdata_file("CT_small.dcm"))
    data_set.StudyInstanceUID = generate_uid()
    data_set.SOPInstanceUID = data_set.file_meta.MediaStorageSOPInstanceUID = generate_uid()
    data_set.Rows = data_set.Columns = 2048
    data_set.PixelData = np.random.default_rng(7).bytes(2048 * 2048 * 2)
    client.store_instances([data_set])
    got = list(client.iter_study(data_set.StudyInstanceUID))
    assert [g.PixelData for g in got] == [data_set.PixelData]
    output = BytesIO()
    pydicom.dcmwrite(output, got[0])
    assert len(output.getvalue()) > 8 * 1024 * 1024
