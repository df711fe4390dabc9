"""Our NIfTI beside dcm2niix's: the same values in the same places, signs of the affine included."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest

import isocenter
import peers
from isocenter.pixels.volume_files import write
from volume_objects import OBLIQUE, ct, save

pytestmark = [pytest.mark.interop]


def theirs(source: Path, folder: Path) -> list[Any]:
    """What dcm2niix makes of a folder."""
    peers.require("dcm2niix")
    program = str(peers.find_program("dcm2niix"))
    folder.mkdir()
    argv = [program, "-z", "n", "-f", "%s_%p_%e", "-o", str(folder), str(source)]
    subprocess.run(argv, check=True, capture_output=True, env=peers.ENVIRONMENT)
    return [nibabel.load(path) for path in sorted(folder.glob("*.nii"))]


def ours(source: Path, path: Path) -> Any:
    write(isocenter.volume(source, rescale=False), path)
    return nibabel.load(path)


def compare(one: Any, other: Any) -> None:
    """Equal values where both put them, whichever way their axes run."""
    data = one.get_fdata()
    indices = np.stack([*np.mgrid[: data.shape[0], : data.shape[1], : data.shape[2]], np.ones(data.shape)], axis=-1)
    there = indices @ (np.linalg.inv(other.affine) @ one.affine).T
    nearest = np.rint(there[..., :3]).astype(int)
    assert np.abs(there[..., :3] - nearest).max() < 1e-2
    assert sorted(data.shape) == sorted(other.shape)
    values = other.get_fdata()[tuple(np.moveaxis(nearest, -1, 0))]
    assert np.allclose(data, values, atol=1e-4)


@pytest.mark.parametrize(
    "orientation",
    [(1, 0, 0, 0, 1, 0), (0, 1, 0, 0, 0, -1), (1, 0, 0, 0, 0, -1), OBLIQUE],
    ids=["axial", "sagittal", "coronal", "oblique"],
)
def test_phantoms(orientation: tuple[float, ...], tmp_path: Path) -> None:
    source = save(tmp_path / "in", ct(7, (16, 20), orientation=orientation))
    (image,) = theirs(source, tmp_path / "theirs")
    compare(ours(source, tmp_path / "ours.nii"), image)


def test_a_tilted_gantry(tmp_path: Path) -> None:
    """dcm2niix writes the slices as they are, with the shear in the sform, and a second file with them upright."""
    source = save(tmp_path / "in", ct(7, (16, 20), tilt=15.0))
    images = theirs(source, tmp_path / "theirs")
    (sheared,) = [image for image in images if image.shape == (20, 16, 7)]
    (upright,) = [image for image in images if image.shape != (20, 16, 7)]
    compare(ours(source, tmp_path / "ours.nii"), sheared)
    write(isocenter.volume(source, rescale=False).upright(), tmp_path / "upright.nii")
    mine = nibabel.load(tmp_path / "upright.nii")
    steps = [np.linalg.norm(image.affine[:3, :3], axis=0) for image in (mine, upright)]
    assert np.allclose(steps[0], steps[1], atol=1e-3)
    # Where both have values, these are the same, but for what the two ways to round leave.
    data, other = mine.get_fdata(), upright.get_fdata()
    indices = np.stack([*np.mgrid[: data.shape[0], : data.shape[1], : data.shape[2]], np.ones(data.shape)], axis=-1)
    nearest = np.rint((indices @ (np.linalg.inv(upright.affine) @ mine.affine).T)[..., :3]).astype(int)
    inside = ((nearest >= 0) & (nearest < other.shape)).all(axis=-1)
    values = other[tuple(np.moveaxis(np.clip(nearest, 0, np.array(other.shape) - 1), -1, 0))]
    held = inside & (data > data.min()) & (values > other.min())
    assert held.sum() > 0.6 * 20 * 16 * 7
    # Their rows are a whole number of pixels off the slices' own, ours a fraction: a row is 1.6 in the field.
    assert np.abs(data - values)[held].max() <= 1.6 + 0.5


def test_a_missing_slice_is_where_it_is_missing(tmp_path: Path) -> None:
    """dcm2niix puts the slices side by side, so only those before the gap are in one place with ours."""
    objects = ct(7, (16, 20))
    source = save(tmp_path / "in", objects[:4] + objects[5:])
    mine, other = ours(source, tmp_path / "ours.nii"), theirs(source, tmp_path / "theirs")[0]
    assert mine.shape[2] == 7
    compare(mine.slicer[:, :, :4], other.slicer[:, :, :4])


def test_series_of_the_corpus(corpus: Path, tmp_path: Path) -> None:
    """Every series of several classic MR and CT slices in the corpus of which both make one volume of one size."""
    volumes = isocenter.volumes(corpus)
    compared = 0
    for number, stack in enumerate(volumes.stacks):
        files = {volumes.sources[plane.source].label for plane in stack.planes}
        if stack.apart or stack.gaps or len(files) < 3 or stack.planes[0].segment:
            continue
        source = tmp_path / f"{number}"
        source.mkdir()
        for at, label in enumerate(files):
            (source / f"{at}.dcm").write_bytes(Path(label).read_bytes())
        images = [image for image in theirs(source, tmp_path / f"{number}-theirs") if image.ndim == 3]
        if len(images) == 1:
            compare(ours(source, tmp_path / f"{number}.nii"), images[0])
            compared += 1
    assert compared >= 3
