"""Pixels of stored objects: images whose description is kept, and series as volumes."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate

from fault_objects import SETTINGS
from isocenter.archive.archive import Archive
from isocenter.errors import NotAVolume, NotFound
from isocenter.model import Origin, Scope
from isocenter.pixels import frames, kept_places
from volume_objects import SLOPE, again, ct, enhanced, field, save

FILE = Origin("import", "here")


def archived(folder: Path, objects: Sequence[Dataset], scenario: Callable[[Archive], Awaitable[None]]) -> None:
    """Run a scenario in an archive that has the objects."""
    save(folder / "in", objects)

    async def run() -> None:
        async with await Archive.open(folder / "data", SETTINGS) as archive:
            for path in (folder / "in").iterdir():
                await archive.ingest([path.read_bytes()], FILE)
            await scenario(archive)

    asyncio.run(run())


def series(ds: Dataset) -> Scope:
    return Scope(str(ds.StudyInstanceUID), str(ds.SeriesInstanceUID))


def test_a_stored_series_is_a_volume(tmp_path: Path) -> None:
    objects = ct(5)

    async def scenario(archive: Archive) -> None:
        found = await archive.volumes(series(objects[0]))
        volume = await asyncio.to_thread(found.load)
        places = np.stack([*np.mgrid[:5, :8, :10], np.ones((5, 8, 10))], axis=-1) @ volume.affine.T
        assert np.allclose(volume.array, field(places[..., :3]), atol=SLOPE)
        assert {source.label for source in found.sources} == {ds.SOPInstanceUID for ds in objects}
        with pytest.raises(NotFound):
            await archive.volumes(Scope("1.2.3"))

    archived(tmp_path, objects, scenario)


def test_a_study_of_two_series_has_two_volumes(tmp_path: Path) -> None:
    one, other = ct(3), again(ct(4))
    for ds in other:
        ds.StudyInstanceUID, ds.PatientID = one[0].StudyInstanceUID, one[0].PatientID

    async def scenario(archive: Archive) -> None:
        found = await archive.volumes(Scope(str(one[0].StudyInstanceUID)))
        assert sorted(len(stack.planes) for stack in found.stacks) == [3, 4]
        with pytest.raises(NotAVolume):
            found.only()

    archived(tmp_path, [*one, *other], scenario)


def test_fragments_without_a_table_are_walked_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ds = enhanced(ct(40), undefined=True)
    pixels = [ds.PixelData[at : at + 160] for at in range(0, 40 * 160, 160)]
    ds.PixelData = encapsulate(pixels, has_bot=False)
    ds["PixelData"].VR, ds["PixelData"].is_undefined_length = "OB", True
    ds.file_meta.TransferSyntaxUID = "1.2.840.10008.1.2.1.98"  # Encapsulated Uncompressed
    walks = []

    def scan(self: frames.EncapsulatedFrames) -> object:
        walks.append(self)
        return original(self)

    original = frames.EncapsulatedFrames._scan
    monkeypatch.setattr(frames.EncapsulatedFrames, "_scan", scan)

    async def scenario(archive: Archive) -> None:
        (ref,) = await archive.select(series(ds))
        for number in (1, 40, 17, 17):
            with archive.image(ref) as image:
                assert image.frame_bytes(number) == pixels[number - 1]
        assert len(walks) == 1

    archived(tmp_path, [ds], scenario)


def test_a_walk_outlives_the_archive_and_not_the_object(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kept_places, "WORTH", 30)
    ds = enhanced(ct(40), undefined=True)
    pixels = [ds.PixelData[at : at + 160] for at in range(0, 40 * 160, 160)]
    ds.PixelData = encapsulate(pixels, has_bot=False)
    ds["PixelData"].VR, ds["PixelData"].is_undefined_length = "OB", True
    ds.file_meta.TransferSyntaxUID = "1.2.840.10008.1.2.1.98"

    async def scenario(archive: Archive) -> None:
        (ref,) = await archive.select(series(ds))
        with archive.image(ref) as image:
            assert image.frame_bytes(40) == pixels[39]

    archived(tmp_path, [ds], scenario)
    (kept,) = (tmp_path / "data" / "frames").iterdir()
    kept.with_name(f"{kept.name}.0123abcd").write_bytes(b"a process ended while it wrote this")
    kept.with_name("0123.4567").write_bytes(kept.read_bytes())  # of an object that is there no more
    monkeypatch.setattr(frames.EncapsulatedFrames, "_scan", None)  # whoever walks now, fails

    async def again_and_gone() -> None:
        async with await Archive.open(tmp_path / "data", SETTINGS) as archive:
            await scenario(archive)
            assert list(kept.parent.iterdir()) == [kept]
            await archive.delete(series(ds), "a test")

    asyncio.run(again_and_gone())
    assert list((tmp_path / "data" / "frames").iterdir()) == []
