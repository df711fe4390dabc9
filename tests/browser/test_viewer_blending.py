"""Presentation states that blend, chosen in the viewer: on the image that others are laid over, as the server draws."""

from __future__ import annotations

import urllib.request
from collections.abc import Iterator

import numpy as np
import pytest
import viewer_objects as objects
from PIL import Image
from pydicom.dataset import Dataset
from pydicom.uid import generate_uid
from viewer_page import Viewer, served

import isocenter
import ours
import state_objects
from isocenter.iod.presentation_state import presentation_state

pytestmark = pytest.mark.browser

SIZE = 64
HOT = np.stack([np.arange(256), np.arange(256) // 2, np.arange(256)[::-1]], axis=1).astype(np.uint8)
RANDOM = np.random.default_rng(7)


def image(study: Dataset | None = None) -> Dataset:
    """A slice in a series of its own."""
    stored = RANDOM.integers(0, 256, (1, SIZE, SIZE), np.uint16)
    made = isocenter.create(
        stored,
        modality="CT",
        rescale=(1, 0),
        window=(128, 256),
        study=study,
        pixel_spacing=(1.0, 1.0),
        slice_thickness=3.0,
        image_position_patient=(0, 0, 0),
    )
    assert isinstance(made, list)
    made[0].SeriesInstanceUID = generate_uid()
    return made[0]


BELOW = image()
OVER = image(BELOW)


def states() -> dict[str, Dataset]:
    """By the description that the viewer lists them under."""
    found = {"Colours over greys": presentation_state(BELOW, palette=HOT, blend=OVER, opacity=0.5, label="BLEND")}
    for whole, name in ((False, "Steps of images"), (True, "Steps of series")):
        items = [
            state_objects.blending_input(1, OVER, HOT, whole=whole),
            state_objects.blending_input(2, BELOW, whole=whole, GeometryForDisplay="TRUE"),
        ]
        ds = state_objects.advanced_blending(items, state_objects.blending_step([1, 2], opacity=0.5))
        ds.PatientID, ds.PatientName, ds.ContentLabel = BELOW.PatientID, BELOW.PatientName, "STEPS"
        found[name] = ds
    for name, ds in found.items():
        ds.ContentDescription = name
    return found


STATES = states()


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    files = [objects.encoded(ds) for ds in (BELOW, OVER)]
    files += [state_objects.encoded(ds) for ds in STATES.values()]
    with ours.background(lambda: served(tmp_path_factory.mktemp("blending"), files)) as url:
        yield url


@pytest.mark.parametrize("name", sorted(STATES))
def test_a_state_that_blends_is_listed_and_applied(viewer: Viewer, address: str, name: str) -> None:
    study = BELOW.StudyInstanceUID
    viewer.open(f"{study}/{BELOW.SeriesInstanceUID}/{BELOW.SOPInstanceUID}")
    viewer.page.wait_for_selector("[aria-label='Segmentations and presentation states']:visible")
    viewer.press("a", "Shift+O")
    viewer.page.locator(".layer", has_text=name).click()
    viewer.page.wait_for_selector(f".bottom-right:has-text('{name}')")
    viewer.settle()
    state = STATES[name]
    query = f"requestType=WADO&studyUID={study}&seriesUID={BELOW.SeriesInstanceUID}&objectUID={BELOW.SOPInstanceUID}"
    query += f"&contentType=image/png&presentationSeriesUID={state.SeriesInstanceUID}"
    query += f"&presentationUID={state.SOPInstanceUID}"
    with urllib.request.urlopen(f"{address}/dicomweb/wado?{query}") as answer:
        expected = np.array(Image.open(answer).convert("RGB"))
    assert expected.std(axis=-1).max() > 0, "there are colours"
    assert np.array_equal(expected, viewer.pixels(SIZE, SIZE))
