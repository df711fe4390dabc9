"""What is a volume is decided twice, in Python for files and in the viewer for the screen: both must say the same."""

from __future__ import annotations

import csv
import json
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from pydicom.data import get_testdata_file
from pydicom.dataset import Dataset
from viewer_page import Viewer, watched

import isocenter
from isocenter.errors import DataSetError, LimitExceeded
from isocenter.pixels.volume import Source, Volumes
from isocenter.wire.dicomjson import Model, dataset_json
from volume_objects import OBLIQUE, again, ct, enhanced, save

if TYPE_CHECKING:
    from playwright.sync_api import Browser

pytestmark = pytest.mark.browser

JUDGE = """async (json) => {
  const metadata = JSON.parse(json);
  const { readPlanes } = await import('/js/volume/planes.js');
  const { volumesOf } = await import('/js/volume/stacks.js');
  const read = readPlanes(metadata);
  const { volumes, leftOut } = volumesOf(read.planes);
  return { volumes, leftOut: [...leftOut, ...read.leftOut] };
}"""


@pytest.fixture(scope="module")
def page(chromium: Browser, address: str) -> Iterator[Viewer]:
    """A page whose modules can be asked."""
    with watched(chromium, address) as viewer:
        viewer.list()
        yield viewer


def model(source: Source) -> Model:
    with source.opened() as (buf, syntax, start):
        return dataset_json(buf, syntax, start=start, bulk_uri="x")


def readable(source: Source) -> bool:
    try:
        return bool(model(source))
    except (DataSetError, LimitExceeded):
        return False


def agree(page: Viewer, files: Sequence[Path]) -> Volumes:
    """Asserts that both judge the files alike; what they found."""
    ours = isocenter.volumes(files)
    metadata = [model(source) for source in ours.sources]
    # As text, which crosses to the page a hundred times sooner than values do
    theirs = page.page.evaluate(JUDGE, json.dumps(metadata))
    reasons = [(list(one.sources), one.reason) for one in ours.left_out]
    assert reasons == [(one["sources"], one["reason"]) for one in theirs["leftOut"]]
    assert len(ours.stacks) == len(theirs["volumes"])
    for mine, other in zip(ours.stacks, theirs["volumes"], strict=True):
        assert [(p.source, p.frame) for p in mine.planes] == [(p["source"], p["frame"]) for p in other["planes"]]
        assert list(mine.places) == other["places"]
        assert np.allclose(mine.affine[:3], other["affine"], rtol=1e-9, atol=1e-7)
        measures = [mine.spacing[0], mine.tilt, mine.deviation]
        assert measures == pytest.approx([other["thickness"], other["tilt"], other["deviation"]], abs=1e-5)
        assert (mine.regular, dict(mine.apart)) == (other["regular"], other["apart"])
        gaps = [(gap.after, pytest.approx(gap.distance), gap.missing) for gap in mine.gaps]
        assert gaps == [(gap["after"], gap["distance"], gap["missing"]) for gap in other["gaps"]]
        assert len(mine.duplicates) == other["duplicates"]
    return ours


def without(objects: list[Dataset], *places: int) -> list[Dataset]:
    return [ds for at, ds in enumerate(objects) if at not in places]


def moved(objects: list[Dataset], place: int, position: list[float]) -> list[Dataset]:
    objects[place].ImagePositionPatient = position
    return objects


def echoes() -> list[Dataset]:
    objects = ct(4)
    return [
        ds
        for echo in (1.5, 4.6)
        for moment in (1, 2, 3)
        for ds in again(objects, EchoTime=echo, TemporalPositionIdentifier=moment, AcquisitionNumber=moment)
    ]


def dynamic() -> list[Dataset]:
    made = [again(ct(3)) for _ in range(2)]
    for at, ds in enumerate(one for moment in made for one in moment):
        ds.InstanceNumber = at + 1
        ds.SeriesInstanceUID, ds.FrameOfReferenceUID = made[0][0].SeriesInstanceUID, made[0][0].FrameOfReferenceUID
    return [*made[0], *made[1]]


def stations() -> list[Dataset]:
    left, right = ct(4), again(ct(4, origin=(60.0, 30.0, 101.0)))
    for number, ds in [(1, ds) for ds in left] + [(2, ds) for ds in right]:
        ds.SeriesInstanceUID, ds.FrameOfReferenceUID = left[0].SeriesInstanceUID, left[0].FrameOfReferenceUID
        ds.AcquisitionNumber = number
    return left + right


def moments() -> list[Dataset]:
    ds = enhanced([*ct(3), *ct(3)])
    for number, group in enumerate(ds.PerFrameFunctionalGroupsSequence):
        group.FrameContentSequence[0].TemporalPositionIndex = number // 3 + 1
    return [ds]


def mixed() -> list[Dataset]:
    objects = ct(5)
    scout = again(objects[:1], ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"])
    coronal = again(objects[:1], ImageOrientationPatient=[1, 0, 0, 0, 0, -1])
    return [*objects, *scout, *coronal, *again(objects[:1], PixelSpacing=[0, 1])]


CASES: dict[str, Callable[[], list[Dataset]]] = {
    "axial": lambda: ct(),
    "tilted": lambda: ct(12, tilt=17.5),
    "oblique": lambda: ct(9, orientation=OBLIQUE, tilt=-8.0),
    "missing slices": lambda: without(ct(12), 3, 4, 8),
    "irregular": lambda: moved(ct(5), 4, [-20, 30, 118]),
    "far": lambda: moved(ct(4), 3, [-20, 30, 1e6]),
    "rounded": lambda: moved(ct(8), 3, [-20.003, 30.002, 107.48]),
    "beside each other": lambda: [
        ds for at, one in enumerate(ct(6)) for ds in moved([one], 0, [-20 + (7 if at % 2 else 0), 30, 100 + at])
    ],
    "copies": lambda: (lambda objects: [*objects, *objects[:2]])(ct(5)),
    "single": lambda: ct()[:1],
    "echoes and moments": echoes,
    "order alone": dynamic,
    "crowded": lambda: (lambda objects: [*objects, *again(objects[:2])])(ct(5)),
    "stations": stations,
    "localizer and others": mixed,
    "enhanced": lambda: [enhanced([ct(7, orientation=OBLIQUE)[at] for at in (3, 0, 6, 1, 5, 2, 4)])],
    "enhanced moments": moments,
}


@pytest.mark.parametrize("case", CASES)
def test_both_judge_made_series_alike(page: Viewer, case: str, tmp_path: Path) -> None:
    save(tmp_path, CASES[case]())
    found = agree(page, sorted(tmp_path.iterdir()))
    assert found.stacks or found.left_out


def test_both_judge_a_dose_grid_and_what_is_no_image_alike(page: Viewer) -> None:
    files = [Path(str(get_testdata_file(name))) for name in ("rtdose.dcm", "test-SR.dcm", "CT_small.dcm")]
    assert len(agree(page, files).stacks) == 1


def test_both_judge_real_series_alike(page: Viewer, corpus: Path) -> None:
    """Every folder of the corpus in which there are volumes; what Python finds damaged is left out."""
    folders: dict[Path, list[Path]] = defaultdict(list)
    with (corpus / "index.csv").open(newline="") as index:
        for row in csv.DictReader(index):
            file = corpus / row["source"] / row["path"]
            if row["rows"] and "fuzz" not in row["source"] and file.is_file() and int(row["bytes"]) < 20_000_000:
                folders[file.parent].append(file)
    judged = 0
    for files in folders.values():
        found = isocenter.volumes(files)
        damaged = {source for one in found.left_out if one.damaged for source in one.sources}
        if found.stacks and len(found.sources) == len(files):
            whole = [file for at, file in enumerate(files) if at not in damaged and readable(found.sources[at])]
            judged += len(agree(page, whole).stacks)
    assert judged >= 5


def test_what_is_no_volume_is_refused_with_the_reason(page: Viewer, tmp_path: Path) -> None:
    """Of pixels, too: by the function that the button and the page ask."""

    def reason(objects: list[Dataset]) -> Any:
        folder = save(tmp_path / str(len(list(tmp_path.iterdir()))), objects)
        models = [model(source) for source in isocenter.volumes(folder).sources]
        script = """async (metadata) => {
          const { judge } = await import('/js/volume/judge.js');
          const { Image } = await import('/js/image.js');
          return judge(metadata.map((ds) => new Image(ds))).reason;
        }"""
        return page.page.evaluate(script, models)

    assert reason(ct()) == ""
    assert reason(without(ct(12), 3)) == ""
    assert reason(ct()[:1]) == "a single slice"
    irregular = "its slices lie at irregular distances: after slice 4 of 5 come 10.5 mm"
    assert reason(moved(ct(5), 4, [-20, 30, 118])) == irregular
    coloured = ct(3)
    for ds in coloured:
        ds.SamplesPerPixel, ds.PhotometricInterpretation, ds.PlanarConfiguration = 3, "RGB", 0
        ds.BitsAllocated = ds.BitsStored = 8
        ds.HighBit, ds.PixelRepresentation, ds.PixelData = 7, 0, bytes(8 * 10 * 3)
    assert reason(coloured) == "its pixels are colours"
    deep = again(ct(3), BitsAllocated=32, BitsStored=32, HighBit=31, PixelData=bytes(8 * 10 * 4))
    assert reason(deep) == "its pixels are not greys of 8 or 16 bits (Bits Allocated 32)"
