"""CT Image Storage (PS3.3 A.3, C.8.2.1): one object per slice."""

from __future__ import annotations

from dataclasses import replace

from pydicom.dataset import Dataset

from isocenter.errors import UsageError
from isocenter.iod.series import Request, finish, write_pixels, write_rescale, write_window

NAME = "CT Image Storage"


def build(request: Request) -> list[Dataset]:
    """The slices in the order of the array's first axis, which is the order of their positions along the normal."""
    if request.values.color:
        raise UsageError("pixels: CT Image Storage has no colour; use modality='OT'")
    if request.description.multi_frame or request.description.frame_time is not None:
        argument = "multi_frame" if request.description.multi_frame else "frame_time"
        raise UsageError(f"{argument}: CT Image Storage has one slice an object; leave it out, or use modality='OT'")
    # C.8.2.1.1.4: Bits Allocated is 16, Bits Stored 12 to 16
    request = replace(request, values=request.values.as_words())
    return [_slice(request, index) for index in range(len(request.values.array))]


def _slice(request: Request, index: int) -> Dataset:
    assert request.geometry is not None
    ds = request.start(index + 1)
    request.write_image_type(ds, ("DERIVED", "SECONDARY", "AXIAL"))
    request.write_frame_of_reference(ds)
    request.geometry.write_plane(ds, index)
    write_pixels(ds, request.values, slice(index, index + 1))
    write_rescale(ds, request.values, "HU")
    if request.description.window is not None:
        write_window(ds, request.description.window)
    return finish(ds, "ct-image", ("voi-lut",))
