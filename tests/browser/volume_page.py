"""Volumes for the browser tests, pages that show them in planes, and the same planes computed by numpy."""

from __future__ import annotations

import base64
import contextlib
import urllib.parse
from collections.abc import Callable, Iterator
from io import BytesIO
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image as Pillow
from pydicom.dataset import Dataset
from viewer_page import Viewer, watched

from volume_objects import INTERCEPT, OBLIQUE, SLOPE, ct

if TYPE_CHECKING:
    from playwright.sync_api import Browser

Array = NDArray[Any]
WINDOW = (150.0, 1000.0)
SPACING = (2.0, 1.0, 0.8)  # between slices, rows and columns, mm
SHAPE = (16, 30, 36)
TILT = 18.0
BALL = (30.0, -24.0, 20.0)  # from the middle of its volume: to the patient's left, front and head


def noise(places: Array) -> Array:
    """Values of which no two neighbours are alike, so that a wrong weight shows: -200 to 500."""
    return np.asarray(np.random.default_rng(6).integers(-200, 500, places.shape[:-1]), np.float64)


def ball(places: Array) -> Array:
    """Air with one dense ball, off the middle of (0, 0, 0) in a direction of its own."""
    return np.where(np.linalg.norm(places - np.array(BALL), axis=-1) < 9, 700.0, -299.0)


def series(number: int, patient_id: str, made: list[Dataset], **attributes: Any) -> list[Dataset]:
    """The images as a study of their own, whose address the test knows."""
    for at, ds in enumerate(made):
        ds.StudyInstanceUID, ds.SeriesInstanceUID = f"2.25.8000{number}", f"2.25.8000{number}.1"
        ds.SOPInstanceUID = ds.file_meta.MediaStorageSOPInstanceUID = f"2.25.8000{number}.1.{at + 1}"
        ds.PatientID, ds.InstanceNumber = patient_id, at + 1
        ds.WindowCenter, ds.WindowWidth = WINDOW
        for keyword, value in attributes.items():
            setattr(ds, keyword, value)
    return made


def pet() -> list[Dataset]:
    """Each slice with a slope of its own; in all of them the value is that of `noise`."""
    made = series(4, "PET", ct(8, (20, 24), spacing=SPACING, origin=(0, 0, 0), value=noise))
    for at, ds in enumerate(made):
        values = np.frombuffer(ds.PixelData, np.int16) * SLOPE + INTERCEPT
        ds.RescaleSlope, ds.RescaleIntercept = 0.25 * (at + 1), -500
        ds.PixelData = np.rint((values + 500) / ds.RescaleSlope).astype(np.int16).tobytes()
    return made


def echoes() -> list[Dataset]:
    """Two volumes of one series in the same place, the second brighter."""
    made = []
    for echo, more in ((1.5, 0), (4.5, 200)):
        values = ct(
            6, (20, 24), spacing=SPACING, origin=(0, 0, 0), value=lambda places, more=more: noise(places) + more
        )
        for ds in values:
            ds.EchoTime, ds.FrameOfReferenceUID = echo, "2.25.800009.2"
        made += values
    return series(9, "ECHOES", made)


def all_series() -> list[Dataset]:
    gapped = series(3, "GAP", ct(10, (20, 24), spacing=SPACING, origin=(0, 0, 0), value=noise))
    irregular = series(5, "IRREGULAR", ct(5))
    irregular[4].ImagePositionPatient = [-20, 30, 118]
    padded = series(6, "PADDED", ct(6, (20, 24), spacing=SPACING, origin=(0, 0, 0), value=noise))
    for ds in padded:
        pixels = np.frombuffer(ds.PixelData, np.int16).reshape(20, 24).copy()
        pixels[:, :8] = -2000
        ds.PixelData = pixels.tobytes()
        ds.add_new("PixelPaddingValue", "SS", -2000)
    lit = ct(40, (40, 44), spacing=(2.5, 2.5, 2.5), origin=(-53.75, -48.75, -48.75), value=ball)
    return [
        *series(1, "TILTED", ct(SHAPE[0], SHAPE[1:], spacing=SPACING, origin=(-12, 20, 40), tilt=TILT, value=noise)),
        *series(2, "STRAIGHT", ct(SHAPE[0], SHAPE[1:], spacing=SPACING, origin=(-12, 20, 40), value=noise)),
        *(ds for at, ds in enumerate(gapped) if at not in (4, 5)),
        *pet(),
        *irregular,
        *padded,
        *series(7, "BALL", lit),
        *echoes(),
        *series(8, "OBLIQUE", ct(9, (24, 30), spacing=SPACING, orientation=OBLIQUE, value=noise)),
    ]


NO_WEBGL = (
    "const get = HTMLCanvasElement.prototype.getContext; HTMLCanvasElement.prototype.getContext = "
    "function (kind, ...rest) { return kind === 'webgl2' ? null : get.call(this, kind, ...rest); };"
)


@contextlib.contextmanager
def without_webgl(chromium: Browser, address: str, tolerate: str = "\0", locale: str = "en-GB") -> Iterator[Viewer]:
    """A page as in a browser without WebGL2: planes have to do without it, and are sooner there."""
    with watched(chromium, address, 920, 620, tolerate, locale) as page:
        page.page.add_init_script(NO_WEBGL)
        yield page


# --- what a page shows, and what it should


def go(viewer: Viewer, number: int, planes: str = "on", query: str = "") -> None:
    viewer.page.goto(f"{viewer.address}/view/2.25.8000{number}/2.25.8000{number}.1?planes={planes}{query}")
    ready(viewer)


def ready(viewer: Viewer) -> None:
    """Waits until every plane on the screen is whole, and what lays the page out is there: it may come after them."""
    viewer.page.wait_for_selector(".pane")
    viewer.page.wait_for_function(
        "() => [...document.querySelectorAll('link[rel=stylesheet]')].every((link) => link.sheet)"
        " && [...document.querySelectorAll('.pane:not(.is-scene):not([hidden])')]"
        ".every((pane) => pane.getAttribute('aria-busy') === 'false')"
    )


def picture(viewer: Viewer, name: str) -> Array:
    """The canvas of a plane: uint8, shape (height, width, 3)."""
    url = viewer.page.evaluate(f"() => document.querySelector('.pane.is-{name} canvas').toDataURL('image/png')")
    return np.array(Pillow.open(BytesIO(base64.b64decode(url.partition(",")[2]))).convert("RGB"))


NOTHING = np.array([10, 12, 15])
FRAMES = {
    "axial": ((1, 0, 0), (0, 1, 0)),
    "coronal": ((1, 0, 0), (0, 0, -1)),
    "sagittal": ((0, 1, 0), (0, 0, -1)),
}


def turned(turn: tuple[float, float, float, float], v: Array) -> Array:
    w, *axis = np.array(turn) / np.linalg.norm(turn)
    t = np.cross(axis, v)
    return np.asarray(v + 2 * w * t + 2 * np.cross(axis, t))


class Scanned:
    """A series as numpy sees it: stored values, and where they lie."""

    def __init__(self, made: list[Dataset], stored: Array | None = None) -> None:
        shape = (made[0].Rows, made[0].Columns)
        self.stored = np.stack([np.frombuffer(ds.PixelData, np.int16).reshape(shape) for ds in made]).astype(np.float64)
        if stored is not None:
            self.stored = stored
        first, last = (np.array(made[at].ImagePositionPatient, float) for at in (0, -1))
        orientation = np.array(made[0].ImageOrientationPatient, float)
        self.affine = np.eye(4)
        self.affine[:3, 0] = (last - first) / (len(self.stored) - 1)
        self.affine[:3, 1] = orientation[3:] * float(made[0].PixelSpacing[0])
        self.affine[:3, 2] = orientation[:3] * float(made[0].PixelSpacing[1])
        self.affine[:3, 3] = first

    @property
    def centre(self) -> Array:
        return np.asarray((self.affine @ [*((np.array(self.stored.shape) - 1) / 2), 1])[:3])

    def at(self, points: Array) -> Array:
        """Stored values at points in mm (..., 3), trilinear; NaN outside. A slice of NaN reaches half way."""
        inverse = np.linalg.inv(self.affine)
        index = points @ inverse[:3, :3].T + inverse[:3, 3]
        size = np.array(self.stored.shape)
        outside = ((index < -0.5) | (index > size - 0.5)).any(axis=-1)
        index = np.clip(index, 0, size - 1)
        low = np.minimum(np.floor(index).astype(int), size - 1)
        part = index - low
        high = np.minimum(low + 1, size - 1)
        total = np.zeros(points.shape[:-1])
        nearest = self.stored[np.where(part[..., 0] < 0.5, low[..., 0], high[..., 0]), 0, 0]
        here, there = (np.isnan(self.stored[one[..., 0], 0, 0]) for one in (low, high))
        share = np.where(here, 1.0, np.where(there, 0.0, part[..., 0]))
        for corner in np.ndindex(2, 2, 2):
            at = [np.where(bit, high[..., axis], low[..., axis]) for axis, bit in enumerate(corner)]
            weights = [share if axis == 0 else part[..., axis] for axis in range(3)]
            weight = np.prod([one if bit else 1 - one for one, bit in zip(weights, corner, strict=True)], axis=0)
            total += np.where(weight > 0, weight * np.nan_to_num(self.stored[at[0], at[1], at[2]]), 0)
        return np.where(outside | np.isnan(nearest), np.nan, total)


def cut(
    scanned: Scanned,
    name: str,
    size: tuple[int, int],
    *,
    point: Array,
    turn: tuple[float, float, float, float] = (1, 0, 0, 0),
    centre: Array,
    field: float,
    slab: tuple[str, float] = ("max", 0.0),
    frame: tuple[Array, ...] | None = None,
) -> Array:
    """The stored values of a plane of `size` (height, width), as PS3.3 C.7.6.2.1.1 places them; NaN for nothing."""
    height, width = size
    right, down = frame or (turned(turn, np.array(v, float)) for v in FRAMES[name])
    into = np.cross(right, down)
    middle = centre + into * ((point - centre) @ into)
    scale = field / min(width, height)
    y, x = np.mgrid[:height, :width]
    points = (
        middle + ((x - (width - 1) / 2) * scale)[..., None] * right + ((y - (height - 1) / 2) * scale)[..., None] * down
    )
    how, mm = slab
    voxels = np.linalg.inv(scanned.affine)[:3, :3] @ into
    samples = int(np.ceil(mm * np.abs(voxels).max())) + 1 if mm else 1
    depths = np.linspace(-mm / 2, mm / 2, samples) if samples > 1 else [0.0]
    values = np.stack([scanned.at(points + depth * into) for depth in depths])
    empty = np.isnan(values).all(axis=0)
    values[:, empty] = 0
    reduced = {"max": np.nanmax, "min": np.nanmin, "mean": np.nanmean}[how](values, axis=0)
    return np.where(empty, np.nan, np.floor(reduced + 0.5))


def greys(
    stored: Array, slope: float = SLOPE, intercept: float = INTERCEPT, window: tuple[float, float] = WINDOW
) -> Array:
    center, width = window
    return np.rint(np.clip((stored * slope + intercept - (center - 0.5)) / (width - 1) + 0.5, 0, 1) * 255)


def same(shown: Array, expected: Array, part: float = 0.01, to: Callable[[Array], Array] = greys) -> None:
    """The picture shows the greys of the values, which are `to` of them, and the ground where there are none.

    A value half way between two stored ones may fall to either, and a pixel on the edge inside or outside: at most
    `part` of the greys are off by one.
    """
    ground = (shown == NOTHING).all(axis=-1)
    assert np.count_nonzero(ground != np.isnan(expected)) <= 0.002 * expected.size
    both = ~ground & ~np.isnan(expected)
    assert both.sum() > 5000
    difference = np.abs(shown[..., 0].astype(int) - to(expected))[both]
    assert difference.max() <= 1
    assert np.count_nonzero(difference) <= part * difference.size


OBLIQUE_TURN = (0.9, 0.25, -0.2, 0.3)
POINT = np.array([1.5, 33.25, 57.75])
VIEW = np.array([3.0, 31.0, 55.0])


def address(slab: str = "", turn: tuple[float, float, float, float] = (1, 0, 0, 0)) -> str:
    view = ",".join(f"{value:g}" for value in (*turn, *VIEW, 44))
    words = [f"at:{','.join(f'{v:g}' for v in POINT)}", *(f"{name}:{view}" for name in FRAMES), slab]
    return ";".join(word for word in words if word)


def state(viewer: Viewer, **wanted: str) -> dict[str, list[str]]:
    """The words of the address, once it has followed; `wanted` are beginnings to wait for."""
    viewer.page.wait_for_function(
        "(wanted) => Object.entries(wanted).every(([name, text]) => location.search.includes(`${name}:${text}`))",
        arg=wanted,
    )
    query = urllib.parse.parse_qs(urllib.parse.urlsplit(viewer.page.url).query)
    return {name: text.split(",") for name, _, text in (part.partition(":") for part in query["planes"][0].split(";"))}


def arrived(viewer: Viewer, z: float, within: float) -> None:
    """Waits until the address says that the crossing is at height z, mm."""
    viewer.page.wait_for_function(
        "([z, within]) => Math.abs(Number(/at:[^,]+,[^,]+,([^;]+)/.exec(location.search)?.[1]) - z) <= within",
        arg=[z, within],
    )
