"""Pictures as files: PNG, JPEG, WebP and AVIF of what `render` makes."""

from __future__ import annotations

import imagecodecs
import numpy as np

from isocenter.errors import NotAcceptable, UsageError
from isocenter.pixels.layout import Array

# Media type of a picture's file name
MEDIA_TYPES = {
    ".png": "image/png",
    ".jpg": "image/jpeg",
    ".jpeg": "image/jpeg",
    ".webp": "image/webp",
    ".avif": "image/avif",
}


def encode(array: Array, media_type: str, quality: int = 90) -> bytes:
    """A picture from `render` as a file; 16-bit greys as PNG only.

    `media_type` is one of MEDIA_TYPES; `quality` 1 to 100 is for all but PNG. NotAcceptable for any other type,
    UsageError for 16 bits in another.
    """
    picture = np.ascontiguousarray(array)
    quality = min(100, max(1, quality))
    if media_type == "image/png":
        # The fastest level that compresses: a CT slice is 5 percent larger than at level 6, in two thirds of the time.
        return bytes(imagecodecs.png_encode(picture, level=1))
    if media_type not in MEDIA_TYPES.values():
        raise NotAcceptable(f"pictures are {', '.join(dict.fromkeys(MEDIA_TYPES.values()))}, not {media_type}")
    if picture.dtype != np.uint8:
        raise UsageError(f"16-bit greys are for PNG, not {media_type}")
    if media_type == "image/jpeg":
        return bytes(imagecodecs.jpeg8_encode(picture, level=quality))
    rgb = picture if picture.ndim == 3 else np.repeat(picture[:, :, None], 3, axis=2)
    if media_type == "image/webp":
        return bytes(imagecodecs.webp_encode(rgb, level=quality))
    # Of greys AVIF has a form of its own, but not every reader has it. The encoder's own speed is ten times slower.
    return bytes(imagecodecs.avif_encode(rgb, level=quality, speed=8, numthreads=1))
