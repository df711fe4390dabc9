"""Presentation states over DICOMweb: those of one image, of several of which some are gone, and blending ones."""

from __future__ import annotations

import numpy as np
import pytest
from pydicom.dataset import Dataset

import isocenter
from isocenter.iod.presentation_state import Graphic, presentation_state
from skins.test_web_retrieve import put
from skins.test_web_uri import png, query
from skins.web_harness import Web, saved
from state_objects import advanced_blending, blending_input, blending_step

HOT = np.stack([np.arange(256), np.arange(256) // 2, np.arange(256)[::-1]], axis=1).astype(np.uint8)
RNG = np.random.default_rng(4)


def slices(study: Dataset | None = None) -> list[Dataset]:
    """Three slices whose 8-bit values are their own greys."""
    made = isocenter.create(
        RNG.integers(0, 256, (3, 16, 20), np.uint16), modality="CT", rescale=(1, 0), window=(128, 256), study=study,
        pixel_spacing=(1.0, 1.0), slice_thickness=2.0, image_position_patient=(0, 0, 0), patient_id="STATES",
    )  # fmt: skip
    assert isinstance(made, list)
    return made


def test_turned_cut_and_drawn_upon(web: Web) -> None:
    first, *others = slices()
    put(web, *(saved(ds) for ds in (first, *others)))
    mark = Graphic("POLYLINE", [(5, 4), (10, 4), (10, 8), (5, 8), (5, 4)], filled=True)
    (path,) = put(web, saved(presentation_state(first, rotation=90, area=((1, 1), (15, 12)), graphics=[mark])))
    shown = png(web, f"{path}/rendered?accept=image/png")
    expected = np.rot90(first.pixel_array[:12, :15], -1)
    drawn = shown != expected
    assert shown.shape == (15, 12)
    assert (shown[drawn] == 255).all()
    assert 15 <= np.count_nonzero(drawn) <= 30
    assert png(web, f"{path}/rendered?accept=image/png&viewport=120,120").shape == (120, 96)
    assert max(png(web, f"{path}/thumbnail?accept=image/png").shape) == 128


def test_the_first_image_that_is_here_is_shown(web: Web) -> None:
    gone, here, _ = slices()
    put(web, saved(here))
    (path,) = put(web, saved(presentation_state([gone, here])))
    assert (png(web, f"{path}/rendered?accept=image/png") == here.pixel_array).all()
    (alone,) = put(web, saved(presentation_state(gone)))
    assert web.get(f"{alone}/rendered").status_code == 404


def test_a_series_of_states_is_one_of_them(web: Web) -> None:
    (image, *_) = slices()
    put(web, saved(image))
    states = [presentation_state(image, rotation=90), presentation_state(image, rotation=270)]
    for state in states:
        state.SeriesInstanceUID = states[0].SeriesInstanceUID
    series = put(web, *(saved(state) for state in states))[0].partition("/instances")[0]
    assert png(web, f"{series}/rendered?accept=image/png").shape == (20, 16)
    assert png(web, f"{series}/thumbnail?accept=image/png").shape == (128, 102)


def test_blending_takes_the_nearest_slice(web: Web) -> None:
    below = slices()
    over = slices(below[0])
    paths = put(web, *(saved(ds) for ds in below))
    state = presentation_state(below, palette=HOT, blend=over, opacity=1.0)
    (path,) = put(web, saved(state))
    assert web.get(f"{path}/rendered").status_code == 422  # what it superimposes is not here yet
    put(web, *(saved(ds) for ds in over))
    shown = png(web, f"{path}/rendered?accept=image/png")
    assert (shown == HOT[over[0].pixel_array]).all()
    of_another = query(
        paths[1], contentType="image/png", presentationUID=state.SOPInstanceUID,
        presentationSeriesUID=state.SeriesInstanceUID,
    )  # fmt: skip
    place = [saved(ds) for ds in below].index(web.get(paths[1], "application/dicom").content)
    assert (png(web, of_another) == HOT[over[place].pixel_array]).all()


def test_advanced_blending_of_three_series(web: Web) -> None:
    below = slices()
    over, third = slices(below[0]), slices(below[0])
    items = [
        blending_input(1, below[0], whole=True),
        blending_input(2, over[0], HOT, whole=True),
        blending_input(3, third[1], HOT[::-1]),
    ]
    state = advanced_blending(items, blending_step([2, 3], 4), blending_step([4, 1], opacity=0.5))
    paths = put(web, *(saved(ds) for ds in (*below, *over)))
    (path,) = put(web, saved(state))
    assert web.get(f"{path}/rendered").status_code == 422  # of the third there is nothing yet
    put(web, saved(third[1]))
    place = [saved(ds) for ds in below].index(web.get(paths[2], "application/dicom").content)
    of_one = query(
        paths[2], contentType="image/png", presentationUID=state.SOPInstanceUID,
        presentationSeriesUID=state.SeriesInstanceUID,
    )  # fmt: skip
    colours = (HOT[over[place].pixel_array].astype(float) + HOT[::-1][third[1].pixel_array]) / 2
    expected = (colours + below[place].pixel_array[..., None]) / 2
    assert np.abs(png(web, of_one) - expected).max() <= 0.51
    assert png(web, f"{path}/rendered?accept=image/png").shape == (16, 20, 3)  # of the series, one of its slices


@pytest.mark.parametrize(
    ("last", "what"),
    [("6", "planar reconstructions"), ("9", "renderings of volumes")],
)
def test_a_kind_that_is_not_applied_is_refused_by_name(web: Web, last: str, what: str) -> None:
    """Not as an object without pixel data; it is stored and given back as any other."""
    (image, *_) = slices()
    (shown,) = put(web, saved(image))
    state = presentation_state(image)
    state.SOPClassUID = state.file_meta.MediaStorageSOPClassUID = f"1.2.840.10008.5.1.4.1.1.11.{last}"
    (path,) = put(web, saved(state))
    by_uri = query(
        shown, contentType="image/png", presentationUID=state.SOPInstanceUID,
        presentationSeriesUID=state.SeriesInstanceUID,
    )  # fmt: skip
    for address in (f"{path}/rendered", f"{path}/thumbnail", f"{path.partition('/instances')[0]}/rendered", by_uri):
        response = web.get(address)
        assert response.status_code == 422
        assert f"presentation states for {what}" in response.text
        assert "(0008,0016)" in response.text
    assert web.get(path, "application/dicom").content == saved(state)
