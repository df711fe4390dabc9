"""Blending presentation states: colours over greys, each where its geometry puts it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pytest
from pydicom.dataset import Dataset
from typer.testing import CliRunner

import isocenter
from isocenter.cli.main import app
from isocenter.errors import PixelError
from isocenter.iod.presentation_state import presentation_state
from isocenter.pixels.blend import nearest, plane_of
from isocenter.pixels.render import render
from isocenter.pixels.state import BLENDING
from state_objects import encoded, loaded, read

HOT = np.stack([np.arange(256), np.arange(256) // 2, np.arange(256)[::-1]], axis=1).astype(np.uint8)
BELOW = np.random.default_rng(1).integers(0, 256, (20, 30), np.uint16)
OVER = np.random.default_rng(2).integers(0, 256, (20, 30), np.uint16)


def made(stored: np.ndarray, study: Dataset | None = None, **geometry: Any) -> list[Dataset]:
    arguments = {"pixel_spacing": (1.0, 1.0), "slice_thickness": 3.0, "image_position_patient": (0, 0, 0), **geometry}
    result = isocenter.create(
        stored[None] if stored.ndim == 2 else stored, modality="CT", rescale=(1, 0), window=(128, 256), study=study,
        **arguments,
    )  # fmt: skip
    assert isinstance(result, list)
    return result


def blended(below: Dataset, over: Dataset, opacity: float = 0.25) -> np.ndarray:
    state = presentation_state(below, palette=HOT, blend=over, opacity=opacity)
    return render(loaded(below), state=read(state), over={1: (loaded(over), 1)})


def greys(stored: np.ndarray) -> np.ndarray:
    """LINEAR, centre 128, width 256: 8-bit values are their own greys."""
    return np.repeat(stored.astype(np.uint8)[..., None], 3, axis=-1).astype(float)


def test_opacity_of_colours_over_greys() -> None:
    (below,) = made(BELOW)
    (over,) = made(OVER, below)
    expected = greys(BELOW) * 0.75 + HOT[OVER] * 0.25
    assert np.abs(blended(below, over) - expected).max() <= 0.51
    assert (blended(below, over, 0.0) == greys(BELOW)).all()
    assert (blended(below, over, 1.0) == HOT[OVER]).all()


def test_padding_is_not_laid_over() -> None:
    (below,) = made(BELOW)
    (over,) = made(OVER, below)
    over.PixelPaddingValue = int(OVER[3, 4])
    hidden = OVER == OVER[3, 4]
    picture = blended(below, over, 1.0)
    assert (picture[hidden] == greys(BELOW)[hidden]).all()
    assert (picture[~hidden] == HOT[OVER][~hidden]).all()


def test_each_lies_where_its_geometry_says() -> None:
    """A grid twice as coarse that begins at (10, 6) mm: its pixels are two by two of those below, and cover a part."""
    (below,) = made(BELOW)
    coarse = OVER[:5, :8]
    (over,) = made(coarse, below, pixel_spacing=(2.0, 2.0), image_position_patient=(10.5, 6.5, 0.0))
    picture = blended(below, over, 1.0)
    expected = greys(BELOW)
    # Centres: every pixel below lies a quarter of a coarse one from its centre.
    weights = np.array([0.75, 0.25])
    for row in range(6, 16):
        for column in range(10, 26):
            y, x = (row - 6.5) / 2, (column - 10.5) / 2
            total = np.zeros(3)
            near_y, near_x = int(np.rint(y)), int(np.rint(x))
            other_y, other_x = near_y + (1 if y > near_y else -1), near_x + (1 if x > near_x else -1)
            for cy, wy in zip((near_y, other_y), weights, strict=True):
                for cx, wx in zip((near_x, other_x), weights, strict=True):
                    total += wy * wx * HOT[coarse[np.clip(cy, 0, 4), np.clip(cx, 0, 7)]]
            expected[row, column] = total
    assert np.abs(picture - expected).max() <= 1


def test_planes_that_are_not_parallel_and_sizes_that_differ_are_refused() -> None:
    (below,) = made(BELOW)
    (over,) = made(OVER, below, image_orientation_patient=(1, 0, 0, 0, 0, -1))
    with pytest.raises(PixelError, match="parallel"):
        blended(below, over)
    (small,) = made(OVER[:5], below)
    del small.ImagePositionPatient
    with pytest.raises(PixelError, match="same size"):
        blended(below, small)
    state = read(presentation_state(below, palette=HOT, blend=small))
    with pytest.raises(PixelError, match="needs an image"):
        render(loaded(below), state=state)
    with pytest.raises(PixelError, match="does not superimpose"):
        render(loaded(below), state=state, over={1: (loaded(below), 1)})


def test_the_nearest_slice_is_taken() -> None:
    stack = made(np.stack([OVER] * 4))
    planes = [plane_of(loaded(ds), 1) for ds in stack]
    (tilted,) = made(OVER, image_position_patient=(0, 0, 6.9))
    assert nearest(plane_of(loaded(tilted), 1), planes) == 2
    assert nearest(None, planes[:1]) == 0
    with pytest.raises(PixelError, match="in a plane parallel to it"):
        nearest(None, planes)


@pytest.mark.parametrize(
    ("z", "expected"), [(-1.6, None), (-1.4, 0), (0, 0), (4.4, 1), (9, 3), (10.4, 3), (10.6, None)]
)
def test_nothing_lies_beyond_the_outermost_slices(z: float, expected: int | None) -> None:
    """Slices 3 mm apart at 0 to 9 mm: half of that beyond them is still theirs, whatever their order."""
    stack = made(np.stack([OVER] * 4))
    (below,) = made(BELOW, image_position_patient=(0, 0, z))
    plane = plane_of(loaded(below), 1)
    planes = [plane_of(loaded(ds), 1) for ds in stack]
    assert nearest(plane, planes) == expected
    assert nearest(plane, [*planes, planes[0], None]) == expected


@pytest.mark.parametrize(
    "wrong",
    [
        {"ImagePositionPatient": ["1e300", "-1e300", "0"]},
        {"PixelSpacing": ["1e-300", "1"]},
        {"PixelSpacing": ["0", "1"]},
        {"ImageOrientationPatient": ["1e200", "0", "0", "0", "1e200", "0"]},
        {"ImageOrientationPatient": ["1", "0", "0", "1", "0", "0"]},
        {"ImageOrientationPatient": ["1e-160", "0", "0", "0", "1e-160", "0"]},
    ],
)
def test_numbers_that_are_no_place_are_none(wrong: dict[str, list[str]]) -> None:
    """Nothing overflows on the way; of one size, the images lie on each other as those without geometry."""
    (below,) = made(BELOW)
    (over,) = made(OVER, below)
    for keyword, value in wrong.items():
        setattr(over, keyword, value)
    assert plane_of(loaded(over), 1) is None
    assert (blended(below, over, 1.0) == HOT[OVER]).all()


def test_where_nothing_is_superimposed_greys_stay_greys_and_somebody_is_told() -> None:
    (below,) = made(BELOW)
    (over,) = made(OVER, below)
    notes: list[str] = []
    state = read(presentation_state(below, palette=HOT, blend=over))
    picture = render(loaded(below), state=state, over={}, notes=notes)
    assert (picture == BELOW).all()
    assert notes == ["nothing of input 1 lies where frame 1 does"]


def test_the_command_finds_what_is_superimposed(tmp_path: Path) -> None:
    slices = made(np.stack([BELOW, BELOW[::-1]]))
    others = made(np.stack([OVER, OVER[::-1]]), slices[0])
    for index, ds in enumerate([*slices, *others]):
        (tmp_path / f"{index}.dcm").write_bytes(encoded(ds))
    state = presentation_state(slices, palette=HOT, blend=others, opacity=1.0)
    (tmp_path / "state.dcm").write_bytes(encoded(state))
    assert read(state).kind == BLENDING
    arguments = ["render", str(tmp_path), "--state", str(tmp_path / "state.dcm"), "-o", f"{tmp_path}/out/"]
    done = CliRunner().invoke(app, arguments)
    assert done.exit_code == 0, done.output
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["0.png", "1.png"]
    for name, stored in (("0.png", OVER), ("1.png", OVER[::-1])):
        assert (imagecodecs.png_decode((tmp_path / "out" / name).read_bytes()) == HOT[stored]).all()
    # One of the files is enough for one picture, though several are named; two pictures do not go into one file.
    one = ["render", f"{tmp_path}/0.dcm", f"{tmp_path}/2.dcm", "--state", f"{tmp_path}/state.dcm", "-o"]
    done = CliRunner().invoke(app, [*one, f"{tmp_path}/one.png"])
    assert done.exit_code == 0, done.output
    assert (imagecodecs.png_decode((tmp_path / "one.png").read_bytes()) == HOT[OVER]).all()
    done = CliRunner().invoke(app, [*arguments[:-1], f"{tmp_path}/two.png"])
    assert done.exit_code == 2
    assert "several pictures need a folder" in done.output
