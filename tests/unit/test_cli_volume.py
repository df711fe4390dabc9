"""`isocenter volume`: the list, NIfTI and NRRD."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import nibabel
import nrrd
import numpy as np
import pytest
from typer.testing import CliRunner, Result

from isocenter.cli.main import app
from volume_objects import SLOPE, again, ct, field, save


def volume(*arguments: object) -> Result:
    return CliRunner().invoke(app, ["volume", *map(str, arguments)])


def values_lie_right(data: Any, affine: Any) -> bool:
    """Whether `data` [x, y, z] with an affine to LPS holds the field of the phantom."""
    i, j, k = np.mgrid[: data.shape[0], : data.shape[1], : data.shape[2]]
    places = np.stack([i, j, k, np.ones(data.shape)], axis=-1) @ np.asarray(affine).T
    return bool(np.allclose(data, field(places[..., :3]), atol=SLOPE))


def lps_of_nifti(image: Any) -> Any:
    return np.diag([-1, -1, 1, 1]) @ image.affine


@pytest.mark.parametrize("suffix", ["nii", "nii.gz"])
@pytest.mark.parametrize("tilt", [0.0, 12.0])
def test_nifti(suffix: str, tilt: float, tmp_path: Path) -> None:
    source = save(tmp_path / "in", ct(tilt=tilt))
    done = volume(source, "-o", tmp_path / f"out.{suffix}", "--json")
    assert done.exit_code == 0, done.output
    (told,) = json.loads(done.stdout)["volumes"]
    assert told["file"] == str(tmp_path / f"out.{suffix}")
    assert told["tilt"] == pytest.approx(tilt, abs=1e-3)
    assert told["shape"] == [6, 8, 10]
    image = nibabel.load(told["file"])
    assert image.get_data_dtype() == np.int16
    assert values_lie_right(image.get_fdata(), lps_of_nifti(image))
    assert image.header.get_xyzt_units()[0] == "mm"
    # A quaternion has no place for a shear, and must not claim to be the affine.
    assert int(image.header["qform_code"]) == (0 if tilt else 1)


def test_upright_nifti(tmp_path: Path) -> None:
    done = volume(save(tmp_path / "in", ct(tilt=12.0)), "-o", tmp_path / "out.nii", "--upright", "--json")
    assert done.exit_code == 0, done.output
    (told,) = json.loads(done.stdout)["volumes"]
    image = nibabel.load(tmp_path / "out.nii")
    assert told["upright"] is True
    assert tuple(told["shape"]) == image.shape[::-1]
    assert int(image.header["qform_code"]) == 1
    assert np.allclose(image.get_qform(), image.get_sform(), atol=1e-4)
    assert np.allclose(np.array(told["affine"])[:, [2, 1, 0, 3]], lps_of_nifti(image), atol=1e-4)


@pytest.mark.parametrize(("slope", "dtype"), [(1, np.int16), (0.25, np.float32)])
def test_nrrd(slope: float, dtype: type, tmp_path: Path) -> None:
    objects = ct()
    for ds in objects:
        ds.RescaleSlope = slope
    assert volume(save(tmp_path / "in", objects), "-o", tmp_path / "out.nrrd").exit_code == 0
    data, header = nrrd.read(str(tmp_path / "out.nrrd"))
    assert data.dtype == dtype
    affine = np.eye(4)
    affine[:3, :3], affine[:3, 3] = header["space directions"].T, header["space origin"]
    assert header["space"] == "left-posterior-superior"
    if slope == 0.25:
        assert values_lie_right(data, affine)
    else:
        assert values_lie_right((data + 300.0) * 0.25 - 300.0, affine)


def test_nothing_of_the_patient_is_in_the_files(tmp_path: Path) -> None:
    objects = ct()
    for ds in objects:
        ds.PatientName, ds.PatientID, ds.StudyDescription = "Hong^Gildong", "4711", "Thorax"
    source = save(tmp_path / "in", objects)
    for name in ("a.nii", "a.nrrd"):
        assert volume(source, "-o", tmp_path / name).exit_code == 0
        content = (tmp_path / name).read_bytes()
        for text in ("Hong", "4711", "Thorax", objects[0].StudyInstanceUID, objects[0].SeriesInstanceUID):
            assert text.encode() not in content


def test_the_list_tells_gaps_tilt_and_copies(tmp_path: Path) -> None:
    objects = ct(6, tilt=10.0)
    save(tmp_path / "in", objects[:3] + objects[4:])
    save(tmp_path / "more", objects[:1])
    save(tmp_path / "scout", again(objects[:1], ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"]))
    done = volume(tmp_path)
    assert done.exit_code == 0, done.output
    assert "tilted by 10.00 degrees; 1 slice missing; 1 left out as copies" in done.stdout
    assert "a localizer" in done.stderr
    told = json.loads(volume(tmp_path, "--json").stdout)
    assert told["volumes"][0]["gaps"] == [{"after": 2, "distance": 5.0, "missing": 1}]
    assert [one["reason"] for one in told["left_out"]] == ["a localizer"]


def test_several_volumes_go_into_a_folder(tmp_path: Path) -> None:
    objects = ct(3)
    for echo in (1, 2):
        save(tmp_path / "in" / str(echo), again(objects, EchoNumbers=echo))
    done = volume(tmp_path / "in", "-o", tmp_path / "one.nii")
    assert done.exit_code == 2
    assert "there are 2 volumes" in done.stderr
    assert volume(tmp_path / "in", "-o", tmp_path / "one.nii", "--only", 2).exit_code == 0
    assert volume(tmp_path / "in", "-o", f"{tmp_path}/out/", "--format", "nrrd").exit_code == 0
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["volume-1.nrrd", "volume-2.nrrd"]
    assert "is there already" in volume(tmp_path / "in", "-o", f"{tmp_path}/out/", "--format", "nrrd").stderr


def test_refusals_and_what_they_exit_with(tmp_path: Path) -> None:
    objects = ct(5)
    source = save(tmp_path / "in", objects[:2] + objects[3:])
    done = volume(source, "-o", tmp_path / "a.nii", "--gaps", "refuse")
    assert done.exit_code == 1
    assert "slices are missing" in done.stderr
    assert not (tmp_path / "a.nii").exists()
    assert volume(source, "-o", tmp_path / "a.mha").exit_code == 2
    assert volume(source, "--gaps", "hide").exit_code == 2
    assert volume(source, "--only", 2).exit_code == 2
    assert volume(tmp_path / "nowhere").exit_code == 2
    (tmp_path / "in" / "broken.dcm").write_bytes((next(source.iterdir())).read_bytes()[:600])
    assert volume(source).exit_code == 1
    assert volume(save(tmp_path / "single", objects[:1])).exit_code == 1
