"""Advanced Blending presentation states, against PS3.4 N.2.6 in numpy, where what is not there is not a number."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pytest
from pydicom.dataset import Dataset
from pydicom.uid import generate_uid
from typer.testing import CliRunner

import isocenter
from isocenter.cli.main import app
from isocenter.errors import PixelError, UsageError
from isocenter.pixels.render import render
from isocenter.pixels.state import ADVANCED_BLENDING
from state_objects import advanced_blending, blending_input, blending_step, encoded, loaded, read

SHAPE = (20, 30)
RANDOM = np.random.default_rng(4)
GREYS = [RANDOM.integers(0, 256, SHAPE, np.uint16) for _ in range(3)]
HOT = np.stack([np.arange(256), np.arange(256) // 2, np.arange(256)[::-1]], axis=1).astype(np.uint8)
NOTHING = np.full((*SHAPE, 3), np.nan)


def image(stored: np.ndarray, study: Dataset | None = None, **more: Any) -> Dataset:
    """A slice of its own series."""
    arguments = {"pixel_spacing": (1.0, 1.0), "slice_thickness": 3.0, "image_position_patient": (0, 0, 0), **more}
    made = isocenter.create(stored, modality="CT", rescale=(1, 0), study=study, **arguments)
    ds = made[0] if isinstance(made, list) else made
    ds.SeriesInstanceUID = generate_uid()
    return ds


def colour(stored: np.ndarray, study: Dataset) -> Dataset:
    made = isocenter.create(stored, modality="OT", study=study)
    ds = made[0] if isinstance(made, list) else made
    ds.SeriesInstanceUID = generate_uid()
    return ds


def threshold(kind: str, *values: float) -> Dataset:
    ds, bounds = Dataset(), [Dataset() for _ in values]
    for one, value in zip(bounds, values, strict=True):
        one.ThresholdValue = value
    ds.ThresholdType, ds.ThresholdValueSequence = kind, bounds
    return ds


def shown(ds: Dataset, *images: Dataset, **more: Any) -> np.ndarray:
    """The first image with the others over it, as inputs 2, 3, ..."""
    over = {number: (loaded(one), 1) for number, one in enumerate(images[1:], 2)}
    return render(loaded(images[0]), state=read(ds), over=over, **more)


def greys(stored: np.ndarray) -> np.ndarray:
    return np.repeat(stored.astype(float)[..., None], 3, axis=-1)


def foreground(first: np.ndarray, second: np.ndarray, opacity: float) -> np.ndarray:
    both = opacity * first + (1 - opacity) * second
    return np.where(np.isnan(first), second, np.where(np.isnan(second), first, both))


def equal(*parts: np.ndarray) -> np.ndarray:
    total = sum(np.nan_to_num(part) for part in parts)
    count = sum((~np.isnan(part)).astype(float) for part in parts)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)


def same(picture: np.ndarray, expected: np.ndarray) -> bool:
    return picture.dtype == np.uint8 and bool(np.abs(picture - np.nan_to_num(expected)).max() <= 0.5 + 1e-9)


def series(count: int) -> list[Dataset]:
    first = image(GREYS[0])
    return [first, *(image(stored, first) for stored in GREYS[1:count])]


@pytest.mark.parametrize("opacity", [0.0, 0.3, 1.0])
def test_foreground_is_the_first_input_over_the_second(opacity: float) -> None:
    below, over = series(2)
    ds = advanced_blending(
        [blending_input(1, below), blending_input(2, over, HOT)], blending_step([2, 1], opacity=opacity)
    )
    assert read(ds).kind == ADVANCED_BLENDING
    assert same(shown(ds, below, over), foreground(HOT[GREYS[1]].astype(float), greys(GREYS[0]), opacity))


def test_steps_are_done_in_the_order_in_which_their_results_are_needed() -> None:
    """Greys, and the mean of two palettes over them; the steps stand in the state the other way round."""
    below, second, third = series(3)
    items = [blending_input(1, below), blending_input(2, second, HOT), blending_input(3, third, HOT[::-1])]
    ds = advanced_blending(items, blending_step([4, 1], opacity=0.6), blending_step([2, 3], 4))
    colours = equal(HOT[GREYS[1]].astype(float), HOT[::-1][GREYS[2]].astype(float))
    assert same(shown(ds, below, second, third), foreground(colours, greys(GREYS[0]), 0.6))


THRESHOLDS = {
    "RANGE_INCL": ((50, 100), lambda v: (v >= 50) & (v <= 100)),
    "RANGE_EXCL": ((50, 100), lambda v: (v < 50) | (v > 100)),
    "GREATER_OR_EQUAL": ((100,), lambda v: v >= 100),
    "LESS_OR_EQUAL": ((100,), lambda v: v <= 100),
    "GREATER_THAN": ((100,), lambda v: v > 100),
    "LESS_THAN": ((100,), lambda v: v < 100),
}


@pytest.mark.parametrize("kind", THRESHOLDS)
def test_what_no_threshold_lets_through_is_padding(kind: str) -> None:
    """Values are those of the Modality LUT: stored ones less ten. Each bound occurs among them."""
    values, lets = THRESHOLDS[kind]
    below, over = series(2)
    over.RescaleIntercept = -10
    units = GREYS[1].astype(float) - 10
    assert {50, 100} <= set(units.reshape(-1))
    ds = advanced_blending(
        [blending_input(1, below), blending_input(2, over, HOT, ThresholdSequence=[threshold(kind, *values)])],
        blending_step([2, 1], opacity=0.5),
    )
    index = np.clip(GREYS[1].astype(int) - 10, 0, 255)
    expected = np.where(lets(units)[..., None], HOT[index], np.nan)
    assert same(shown(ds, below, over), foreground(expected, greys(GREYS[0]), 0.5))


def test_of_several_thresholds_any_lets_through_and_padding_counts_with_them() -> None:
    below, second, third = series(3)
    below.PixelPaddingValue, third.PixelPaddingValue = int(GREYS[0][1, 2]), int(GREYS[2][3, 4])
    several = [threshold("LESS_THAN", 40), threshold("GREATER_THAN", 200)]
    ds = advanced_blending(
        [blending_input(1, below), blending_input(2, second, ThresholdSequence=several), blending_input(3, third, HOT)],
        blending_step([1, 2, 3]),
    )
    some = (GREYS[1] < 40) | (GREYS[1] > 200)
    parts = [
        np.where((GREYS[0] != GREYS[0][1, 2])[..., None], greys(GREYS[0]), np.nan),
        np.where(some[..., None], greys(GREYS[1]), np.nan),
        np.where((GREYS[2] != GREYS[2][3, 4])[..., None], HOT[GREYS[2]], np.nan),
    ]
    assert same(shown(ds, below, second, third), equal(*parts))
    # What all are without is black, also as an input of the next step.
    nothing = [threshold("LESS_THAN", -1)]
    items = [blending_input(n, of, ThresholdSequence=nothing) for n, of in ((1, below), (2, second))]
    ds = advanced_blending(items, blending_step([1, 2], 3, opacity=0.5), blending_step([3]))
    assert same(shown(ds, below, second), NOTHING)


def test_an_image_in_colours_is_an_input_as_it_is() -> None:
    first = image(GREYS[0])
    rgb = RANDOM.integers(0, 256, (*SHAPE, 3), np.uint8)
    over = colour(rgb, first)
    ds = advanced_blending([blending_input(1, first), blending_input(2, over)], blending_step([2, 1], opacity=0.25))
    del first.ImagePositionPatient  # the other has no place either: of one size, they lie on each other
    assert same(shown(ds, first, over), foreground(rgb.astype(float), greys(GREYS[0]), 0.25))
    assert (shown(ds, first, over, invert=True) == 255 - shown(ds, first, over)).all()


def test_the_picture_has_the_geometry_of_the_input_that_says_so() -> None:
    """Input 2 is twice as fine as input 1, and TRUE is said of it: of two pixels in a row each has its own colour."""
    coarse = image(GREYS[0])
    fine = image(GREYS[1], coarse, pixel_spacing=(0.5, 0.5))
    items = [blending_input(1, coarse), blending_input(2, fine, GeometryForDisplay="TRUE")]
    found = read(advanced_blending(items, blending_step([1, 2], opacity=0.0)))
    assert [found.covers(loaded(fine)), found.covers(loaded(coarse)), found.over] == [True, False, (1,)]
    assert (render(loaded(fine), state=found, over={1: (loaded(coarse), 1)}) == greys(GREYS[1])).all()
    items[1].GeometryForDisplay = "FALSE"
    assert read(advanced_blending(items, blending_step([1, 2], opacity=0.0))).covers(loaded(coarse))


WRONG = {
    "a number twice": lambda a, b: advanced_blending([blending_input(1, a), blending_input(1, b)], blending_step([1])),
    "number 0": lambda a, b: advanced_blending([blending_input(0, a), blending_input(2, b)], blending_step([2])),
    "a step without inputs": lambda a, b: advanced_blending(
        [blending_input(1, a), blending_input(2, b)], blending_step([])
    ),
    "an input that is nowhere": lambda a, b: advanced_blending(
        [blending_input(1, a), blending_input(2, b)], blending_step([1, 7])
    ),
    "steps in a circle": lambda a, b: advanced_blending(
        [blending_input(1, a), blending_input(2, b)],
        blending_step([4], 3),
        blending_step([3], 4),
        blending_step([1, 3]),
    ),
    "a result twice": lambda a, b: advanced_blending(
        [blending_input(1, a), blending_input(2, b)], blending_step([1], 3), blending_step([2], 3), blending_step([3])
    ),
    "nothing to be shown": lambda a, b: advanced_blending(
        [blending_input(1, a), blending_input(2, b)], blending_step([1, 2], 3)
    ),
    "two pictures": lambda a, b: advanced_blending(
        [blending_input(1, a), blending_input(2, b)], blending_step([1]), blending_step([2])
    ),
    "an opacity of 2": lambda a, b: advanced_blending(
        [blending_input(1, a), blending_input(2, b)], blending_step([1, 2], opacity=2.0)
    ),
    "a foreground of three": lambda a, b: advanced_blending(
        [blending_input(1, a), blending_input(2, b)], blending_step([1, 2, 2], opacity=0.5)
    ),
    "a registration": lambda a, b: advanced_blending(
        [blending_input(1, a), blending_input(2, b, ReferencedSpatialRegistrationSequence=[Dataset()])],
        blending_step([1, 2]),
    ),
    "times": lambda a, b: advanced_blending(
        [blending_input(1, a), blending_input(2, b, TimeSeriesBlending="TRUE")], blending_step([1, 2])
    ),
    "a threshold of one kind with the values of another": lambda a, b: advanced_blending(
        [blending_input(1, a), blending_input(2, b, ThresholdSequence=[threshold("RANGE_INCL", 1)])],
        blending_step([1, 2]),
    ),
    "a threshold of no kind": lambda a, b: advanced_blending(
        [blending_input(1, a), blending_input(2, b, ThresholdSequence=[threshold("ODD", 1)])], blending_step([1, 2])
    ),
    "no inputs": lambda a, b: advanced_blending([blending_input(1, a)], blending_step([1])),
}


@pytest.mark.parametrize("kind", WRONG)
def test_what_cannot_be_applied_is_refused_with_its_place(kind: str) -> None:
    first, second = series(2)
    ds = WRONG[kind](first, second)
    if kind == "no inputs":
        ds.AdvancedBlendingSequence = []
    with pytest.raises(PixelError) as refused:
        shown(ds, first, second)
    assert refused.value.tag_path


def test_only_the_images_of_each_input_are_taken() -> None:
    first, second, third = series(3)
    ds = advanced_blending([blending_input(1, first), blending_input(2, second)], blending_step([1, 2]))
    with pytest.raises(PixelError, match="does not blend"):
        shown(ds, first, third)
    with pytest.raises(PixelError, match="needs an image"):
        render(loaded(first), state=read(ds))
    with pytest.raises(UsageError, match="window"):
        shown(ds, first, second, window=(1, 2))


def test_the_command_finds_each_input_also_where_a_series_stands_for_its_images(tmp_path: Path) -> None:
    images = series(3)
    far = image(GREYS[0], images[0], image_position_patient=(0, 0, 90))
    far.SeriesInstanceUID = images[0].SeriesInstanceUID
    near = image(GREYS[2], images[0], image_position_patient=(0, 0, 3))
    near.SeriesInstanceUID = images[1].SeriesInstanceUID
    for index, ds in enumerate([*images, far, near]):
        (tmp_path / f"{index}.dcm").write_bytes(encoded(ds))
    items = [
        blending_input(1, images[0], whole=True),
        blending_input(2, images[1], HOT, whole=True),
        blending_input(3, images[2], HOT[::-1]),
    ]
    (tmp_path / "state.dcm").write_bytes(
        encoded(advanced_blending(items, blending_step([2, 3], 4), blending_step([4, 1], opacity=0.5)))
    )
    done = CliRunner().invoke(
        app, ["render", str(tmp_path), "--state", f"{tmp_path}/state.dcm", "-o", f"{tmp_path}/out/"]
    )
    assert done.exit_code == 0, done.output
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["0.png", "3.png"]
    colours = equal(HOT[GREYS[1]].astype(float), HOT[::-1][GREYS[2]].astype(float))
    picture = imagecodecs.png_decode((tmp_path / "out" / "0.png").read_bytes())
    assert same(picture, foreground(colours, greys(GREYS[0]), 0.5))
    # 90 mm away nothing of input 2 lies, and of input 3 there is one image only, which lies on whatever is parallel.
    assert "nothing of input 2 lies where frame 1 does" in done.output
    picture = imagecodecs.png_decode((tmp_path / "out" / "3.png").read_bytes())
    assert same(picture, foreground(HOT[::-1][GREYS[2]].astype(float), greys(GREYS[0]), 0.5))
