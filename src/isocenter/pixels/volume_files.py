"""Volumes as files for other software: NIfTI by nibabel, NRRD by pynrrd, both of the extra `isocenter[volume]`.

Both keep what the array and its affine say, and nothing that names the patient: no comment, no description, no UID.
"""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import numpy as np

from isocenter.errors import NotAVolume, UsageError
from isocenter.pixels.layout import Array
from isocenter.pixels.volume import Volume

SUFFIXES = (".nii.gz", ".nii", ".nrrd")
_NIFTI_SIDE = 32767  # its dimensions are 16-bit signed integers


def suffix_of(path: Path) -> str:
    """Which of SUFFIXES a file name has. UsageError for any other."""
    for suffix in SUFFIXES:
        if path.name.lower().endswith(suffix):
            return suffix
    raise UsageError(f"{path.name}: the name of a volume ends with {', '.join(SUFFIXES)}")


def require_library(suffix: str) -> Any:
    """The library that writes such files. UsageError, with what to install, if it is not there."""
    name, package = ("nrrd", "pynrrd") if suffix == ".nrrd" else ("nibabel", "nibabel")
    try:
        return importlib.import_module(name)
    except ImportError:
        raise UsageError(f"{suffix} needs {package}: pip install 'isocenter[volume]'") from None


def write(volume: Volume, path: Path) -> None:
    """Write `volume` as the file format that the name of `path` says.

    Stored values stay integers: NIfTI has their rescale in its header, NRRD gets the output of it, as integers if that
    is exact, else as float32. Raises UsageError, NotAVolume for what NIfTI has no place for, OSError.
    """
    suffix = suffix_of(path)
    library = require_library(suffix)
    (_write_nrrd if suffix == ".nrrd" else _write_nifti)(library, volume, path)


def _write_nifti(nibabel: Any, volume: Volume, path: Path) -> None:
    if max(volume.array.shape) > _NIFTI_SIDE:
        raise NotAVolume(f"NIfTI has no sides over {_NIFTI_SIDE}")
    # Its first index runs fastest: column, row, slice
    affine = volume.ras[:, [2, 1, 0, 3]]
    image = nibabel.Nifti1Image(volume.array.transpose(2, 1, 0), affine)
    header = image.header
    header.set_xyzt_units("mm")
    if volume.rescale is not None:
        header.set_slope_inter(*volume.rescale)
    # 1: positions are those of the scanner. A quaternion has no shear: a tilted gantry's is in the affine only.
    image.set_sform(affine, code=1)
    image.set_qform(affine, code=0 if volume.tilt else 1)
    nibabel.save(image, path)


def _write_nrrd(nrrd: Any, volume: Volume, path: Path) -> None:
    affine = volume.affine[:3, [2, 1, 0, 3]]
    header = {
        "space": "left-posterior-superior",
        "space units": ["mm", "mm", "mm"],
        "kinds": ["domain", "domain", "domain"],
        "space directions": affine[:, :3].T,
        "space origin": affine[:, 3],
        "encoding": "gzip",
    }
    nrrd.write(str(path), _output(volume), header, index_order="C")


def _output(volume: Volume) -> Array:
    """The values with their rescale applied: whole numbers stay whole numbers, in the smallest signed type."""
    if volume.rescale is None or volume.rescale == (1.0, 0.0):
        return volume.array
    slope, intercept = volume.rescale
    if volume.array.dtype.kind in "iu" and slope.is_integer() and intercept.is_integer():
        ends = [int(end) * int(slope) + int(intercept) for end in (volume.array.min(), volume.array.max())]
        for dtype in (np.int16, np.int32):
            if np.iinfo(dtype).min <= min(ends) and max(ends) <= np.iinfo(dtype).max:
                return np.asarray(volume.array.astype(np.int64) * int(slope) + int(intercept)).astype(dtype)
    return (volume.array * np.float64(slope) + intercept).astype(np.float32)
