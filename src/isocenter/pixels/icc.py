"""Colour consistency (PS3.3 C.11.15): an image's ICC profile, and its colours in another space, by LittleCMS.

A profile is a program of tables that somebody sent, for a library in C: where codecs run in processes of their own
(isolation.py), it does, too.
"""

from __future__ import annotations

import imagecodecs
import numpy as np
from numpy.typing import NDArray

from isocenter.errors import PixelError
from isocenter.pixels import isolation
from isocenter.pixels.header import Attributes
from isocenter.pixels.image import Image

_PROFILE, _OPTICAL_PATHS, _PATH_ID, _PATH_GROUP = 0x00282000, 0x00480105, 0x00480106, 0x00480207
_LONGEST = 8 << 20
_MOST_PATHS = 64

# Names of Table 8.3.5-1 of PS3.18 that the library has profiles for
SPACES = {"srgb": "srgb", "adobergb": "adobergb"}


def profile_of(image: Image, number: int = 1) -> bytes:
    """The ICC profile of a frame's colours, b"" if there is none.

    It stands at the top level, or with the optical path of the frame (C.8.12.5).
    """
    profile = profile_in(image.attributes)
    if profile or not image.attributes.count(_OPTICAL_PATHS):
        return profile
    wanted = image.group(_PATH_GROUP, number).text(_PATH_ID)
    first: Attributes | None = None
    for index in range(min(_MOST_PATHS, image.attributes.count(_OPTICAL_PATHS))):
        path = image.attributes.item(_OPTICAL_PATHS, index)
        assert path is not None
        if first is None:
            first = path
        if wanted and path.text(_PATH_ID) == wanted:
            return profile_in(path)
    return profile_in(first) if first is not None else b""


def profile_in(attributes: Attributes) -> bytes:
    """The ICC profile at the top level of a data set, as of a presentation state; b"" if there is none."""
    return attributes.raw(_PROFILE, _LONGEST)


def space(name: str) -> bytes:
    """The profile of one of `SPACES`."""
    return bytes(imagecodecs.cms_profile(SPACES[name]))


def convert(rgb: NDArray[np.uint8], profile: bytes, target: bytes) -> NDArray[np.uint8]:
    """8-bit colours of `profile` in `target`; PixelError for a profile that is broken or not one of RGB."""
    if profile == target:
        return rgb
    # The header tells the colour space of the data (ICC.1 section 7.2).
    if len(profile) < 128 or profile[16:20] != b"RGB ":
        raise PixelError("the ICC profile is not one of RGB colours", tag_path="(0028,2000)")
    pool = isolation.current()
    try:
        return converted(rgb, profile, target) if pool is None else pool.convert(rgb, profile, target)
    except PixelError as error:
        raise PixelError(error.message, tag_path="(0028,2000)") from None


def converted(rgb: NDArray[np.uint8], profile: bytes, target: bytes) -> NDArray[np.uint8]:
    """The same in this process, of a profile of RGB."""
    try:
        shown = imagecodecs.cms_transform(
            np.ascontiguousarray(rgb), profile, target, colorspace="rgb", outcolorspace="rgb"
        )
    except imagecodecs.CmsError:
        raise PixelError("the ICC profile cannot be used") from None
    return np.asarray(shown, np.uint8)
