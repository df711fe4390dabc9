"""Arrays from files: numpy's .npy, pictures, and headerless raw samples."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from isocenter.errors import UsageError

_PICTURES = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp", ".jp2", ".j2k", ".jls", ".jxl", ".webp")


def read(paths: list[Path], shape: str | None, dtype: str | None) -> NDArray[Any]:
    """One array from one .npy, .npz-free raw or picture file, or a stack of pictures of one size, in the order given.

    `shape` ("60,512,512") and `dtype` ("<i2") describe raw files. Raises UsageError naming the file.
    """
    for path in paths:
        if not path.is_file():
            raise UsageError(f"{path}: there is no such file")
    if shape is not None or dtype is not None:
        if shape is None or dtype is None:
            raise UsageError("--shape and --dtype belong together: both describe a raw file")
        return _stacked(paths, [_raw(path, shape, dtype) for path in paths])
    return _stacked(paths, [_one(path) for path in paths])


def _one(path: Path) -> NDArray[Any]:
    suffix = path.suffix.lower()
    if suffix == ".npy":
        try:
            return np.asarray(np.load(path, mmap_mode="r", allow_pickle=False))
        except (ValueError, OSError, EOFError) as error:
            raise UsageError(f"{path}: not a .npy file of numbers ({error})") from None
    if suffix in _PICTURES:
        return _picture(path)
    raise UsageError(f"{path}: .npy and pictures are known by their names; a raw file needs --shape and --dtype")


def _picture(path: Path) -> NDArray[Any]:
    import imagecodecs

    try:
        array = np.asarray(imagecodecs.imread(str(path)))
    except (ValueError, RuntimeError, OSError) as error:
        raise UsageError(
            f"{path}: cannot be decoded ({str(error).splitlines()[0] if str(error) else 'unknown'})"
        ) from None
    if array.ndim == 3 and array.shape[-1] in (2, 4):
        return _without_alpha(path, array)
    return array[..., 0] if array.ndim == 3 and array.shape[-1] == 1 else array


def _without_alpha(path: Path, array: NDArray[Any]) -> NDArray[Any]:
    # DICOM has no transparency: an opaque picture loses nothing, any other would change its looks
    if (array[..., -1] != np.iinfo(array.dtype).max).any():
        raise UsageError(f"{path}: has transparent pixels, which DICOM has not; flatten it first")
    return array[..., 0] if array.shape[-1] == 2 else array[..., :3]


def _raw(path: Path, shape: str, dtype: str) -> NDArray[Any]:
    try:
        sizes = tuple(int(part) for part in shape.replace("x", ",").split(","))
        kind = np.dtype(dtype)
    except (ValueError, TypeError):
        raise UsageError(f"--shape {shape} --dtype {dtype}: as 60,512,512 and <i2 they would be understood") from None
    if kind.hasobject or min(sizes) < 1:
        raise UsageError(f"--shape {shape} --dtype {dtype}: positive sizes and a numeric type are needed")
    expected = math.prod(sizes) * kind.itemsize
    if path.stat().st_size != expected:
        raise UsageError(f"{path}: has {path.stat().st_size} bytes; shape {shape} of {dtype} needs {expected}")
    return np.memmap(path, kind, "r", shape=sizes)


def _stacked(paths: list[Path], arrays: list[NDArray[Any]]) -> NDArray[Any]:
    first = arrays[0]
    if len(arrays) == 1:
        return first
    for path, array in zip(paths, arrays, strict=True):
        if (array.shape, array.dtype) != (first.shape, first.dtype):
            raise UsageError(f"{path}: {array.shape} {array.dtype}, but {paths[0]} is {first.shape} {first.dtype}")
    return np.stack(arrays)
