"""`isocenter create`: DICOM files from arrays and pictures."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from isocenter.cli import output
from isocenter.errors import UsageError


def command(
    files: Annotated[
        list[Path],
        typer.Argument(metavar="FILE", help="A .npy array, a raw file (--shape, --dtype), or pictures of one size."),
    ],
    out: Annotated[Path, typer.Option("--out", "-o", metavar="PATH", help="A .dcm file, or a folder for several.")],
    modality: Annotated[str, typer.Option(metavar="CT|OT", help="CT: CT images; OT: Secondary Capture.")] = "OT",
    patient_name: Annotated[
        str | None, typer.Option(metavar="NAME", help="Family^Given, ideographic and phonetic after =.")
    ] = None,
    patient_id: Annotated[str | None, typer.Option(metavar="ID", help="Patient ID.")] = None,
    patient_birth_date: Annotated[str | None, typer.Option(metavar="DATE", help="YYYYMMDD.")] = None,
    patient_sex: Annotated[str | None, typer.Option(metavar="SEX", help="M, F or O.")] = None,
    study_description: Annotated[str | None, typer.Option(metavar="TEXT", help="Study Description.")] = None,
    series_description: Annotated[str, typer.Option(metavar="TEXT", help="Series Description.")] = "",
    join: Annotated[Path | None, typer.Option(metavar="FILE", help="A DICOM file of the study to join.")] = None,
    spacing: Annotated[
        str | None, typer.Option(metavar="ROW,COL", help="Pixel spacing in mm: between rows, columns.")
    ] = None,
    slice_thickness: Annotated[float | None, typer.Option(metavar="MM", help="Slice thickness in mm.")] = None,
    slice_spacing: Annotated[float | None, typer.Option(metavar="MM", help="Distance of slices in mm.")] = None,
    position: Annotated[
        str | None, typer.Option(metavar="X,Y,Z", help="Image Position (Patient) of the first slice.")
    ] = None,
    orientation: Annotated[str | None, typer.Option(metavar="6 NUMBERS", help="Image Orientation (Patient).")] = None,
    window: Annotated[str | None, typer.Option(metavar="CENTER,WIDTH", help="Window in output values.")] = None,
    rescale: Annotated[str | None, typer.Option(metavar="SLOPE,INTERCEPT", help="Rescale Slope and Intercept.")] = None,
    frame_time: Annotated[float | None, typer.Option(metavar="MS", help="ms a frame: makes a stack a cine.")] = None,
    shape: Annotated[str | None, typer.Option(metavar="SHAPE", help="Of a raw file, as 60,512,512.")] = None,
    dtype: Annotated[str | None, typer.Option(metavar="DTYPE", help="Of a raw file, as '<i2'.")] = None,
    uid_seed: Annotated[
        str | None, typer.Option(metavar="TEXT", help="Any text; the same gives the same UIDs.")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Overwrite files.")] = False,
    as_json: output.Json = False,
) -> None:
    """Make valid DICOM files from arrays and pictures.

    One picture or 2-D array gives one file. A CT volume gives a file a slice in the folder --out; a stack without
    positions one multi-frame Secondary Capture.
    """
    arguments: dict[str, Any] = {
        "modality": modality,
        "patient_name": patient_name,
        "patient_id": patient_id,
        "patient_birth_date": patient_birth_date,
        "patient_sex": patient_sex,
        "study_description": study_description,
        "series_description": series_description,
        "pixel_spacing": _numbers("--spacing", spacing),
        "slice_thickness": slice_thickness,
        "spacing_between_slices": slice_spacing,
        "image_position_patient": _numbers("--position", position),
        "image_orientation_patient": _numbers("--orientation", orientation),
        "window": _numbers("--window", window),
        "rescale": _numbers("--rescale", rescale),
        "frame_time": frame_time,
        "uid_seed": uid_seed,
    }
    from isocenter.cli import pictures
    from isocenter.iod.create import create

    made = create(pictures.read(files, shape, dtype), study=None if join is None else _study(join), **arguments)
    objects = made if isinstance(made, list) else [made]
    written = _write(objects, out, single=not isinstance(made, list) or len(objects) == 1, force=force)
    if as_json:
        output.write_json([{"file": str(path), "SOPInstanceUID": str(ds.SOPInstanceUID)} for path, ds in written])
        return
    for path, _ in written:
        output.write(str(path))
    first = objects[0]
    output.note(f"{len(objects)} x {first.SOPClassUID.name}, study {first.StudyInstanceUID}")


def _numbers(option: str, text: str | None) -> tuple[float, ...] | None:
    if text is None:
        return None
    try:
        return tuple(float(part) for part in text.replace(" ", ",").split(",") if part)
    except ValueError:
        raise UsageError(f"{option} {text}: numbers with commas between are needed") from None


def _study(path: Path) -> Any:
    from pydicom import dcmread
    from pydicom.errors import InvalidDicomError

    try:
        return dcmread(path, stop_before_pixels=True)
    except (OSError, InvalidDicomError) as error:
        raise UsageError(f"--join {path}: {error}") from None


def _write(objects: list[Any], out: Path, *, single: bool, force: bool) -> list[tuple[Path, Any]]:
    if single and not out.is_dir():
        paths = [out]
    else:
        digits = len(str(len(objects)))
        paths = [out / f"{number:0{digits}}.dcm" for number in range(1, len(objects) + 1)]
    existing = [path for path in paths if path.exists()]
    if existing and not force:
        raise UsageError(f"{existing[0]}: exists already; --force overwrites")
    paths[0].parent.mkdir(parents=True, exist_ok=True)
    with output.bar("writing", len(objects)) as bar:
        for path, ds in zip(paths, objects, strict=True):
            try:
                ds.save_as(path, enforce_file_format=True)
            except OSError as error:
                raise UsageError(f"{path}: {error.strerror or error}") from None
            bar.advance()
    sys.stdout.flush()
    return list(zip(paths, objects, strict=True))
