"""`isocenter volume`: series as volumes, told about or written as NIfTI and NRRD."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from isocenter.cli import exit_codes, output
from isocenter.errors import IsocenterError, NotAVolume, UsageError

if TYPE_CHECKING:
    from isocenter.pixels.geometry import Stack
    from isocenter.pixels.volume import Volumes

_GAPS = ("fill", "keep", "refuse")


def command(
    files: Annotated[list[Path], typer.Argument(metavar="FILE", help="DICOM files, folders and zips.")],
    out: Annotated[
        str | None,
        typer.Option("--out", "-o", metavar="PATH", help="A file (.nii.gz .nii .nrrd), or a folder for several."),
    ] = None,
    only: Annotated[
        int | None, typer.Option("--only", metavar="N", min=1, help="Only this one, by its number in the list.")
    ] = None,
    kind: Annotated[
        str, typer.Option("--format", metavar="FORMAT", help="In a folder: nii.gz, nii or nrrd.")
    ] = "nii.gz",
    gaps: Annotated[
        str, typer.Option(metavar="WHAT", help="Where slices are missing: fill (empty slices), keep, or refuse.")
    ] = "fill",
    upright: Annotated[
        bool,
        typer.Option("--upright", help="Put slices of a tilted gantry straight behind each other (interpolates)."),
    ] = False,
    force: Annotated[bool, typer.Option("--force", help="Overwrite files.")] = False,
    as_json: output.Json = False,
) -> None:
    """Make volumes of series: slices in the order of their positions, with an affine.

    Without --out the volumes are listed, with gaps, tilt and duplicates, and what is in none of them and why. Several
    echoes, moments or b-values of one series are volumes of their own.
    """
    if gaps not in _GAPS:
        raise UsageError(f"--gaps {gaps}: {', '.join(_GAPS)} are known")
    from isocenter.archive.volumes import volumes

    with output.bar("Reading headers", None) as bar:
        found = volumes(files, progress=lambda: bar.advance(1))
    chosen = list(enumerate(found.stacks, 1))
    if only is not None:
        if only > len(chosen):
            raise UsageError(f"--only {only}: there are {len(chosen)} volumes")
        chosen = chosen[only - 1 : only]
    targets = _targets(out, kind, [number for number, _ in chosen], force)
    failed = any(one.damaged for one in found.left_out)
    report = []
    for (number, stack), path in zip(chosen, targets, strict=True):
        told: dict[str, Any] = {"volume": number, **_described(stack, found)}
        if path is not None:
            try:
                told |= _written(found, stack, path, gaps, upright=upright)
            except IsocenterError as error:
                output.fail(error, f"volume {number}")
                told["error"] = str(error)
                failed = True
        report.append(told)
    left_out = [
        {
            "reason": one.reason,
            "damaged": one.damaged,
            "SeriesInstanceUID": one.series,
            "files": [found.sources[source].label for source in one.sources],
        }
        for one in found.left_out
    ]
    if as_json:
        output.write_json({"volumes": report, "left_out": left_out})
    else:
        _tell(report, left_out, listed=out is None)
    if not found.stacks:
        raise NotAVolume("there is no volume")
    if failed:
        raise typer.Exit(exit_codes.SOME_FAILED)


def _targets(out: str | None, kind: str, numbers: Sequence[int], force: bool) -> list[Path | None]:
    """Where each volume goes. UsageError before any pixel is read."""
    if out is None:
        return [None] * len(numbers)
    from isocenter.pixels.volume_files import SUFFIXES, require_library, suffix_of

    path = Path(out)
    paths = [path]
    if path.is_dir() or out.endswith("/") or not path.name.lower().endswith(SUFFIXES):
        suffix = f".{kind.lower().lstrip('.')}"
        if suffix not in SUFFIXES:
            raise UsageError(f"--format {kind}: {', '.join(one[1:] for one in SUFFIXES)} are known")
        if path.suffix and not path.is_dir() and not out.endswith("/"):
            suffix_of(path)
        paths = [path / f"volume-{number}{suffix}" for number in numbers]
    elif len(numbers) > 1:
        raise UsageError(f"{out}: there are {len(numbers)} volumes: give a folder, or --only N")
    elif not numbers:
        paths = []
    for one in paths:
        require_library(suffix_of(one))
        if one.exists() and not force:
            raise UsageError(f"{one} is there already: --force overwrites it")
    return list(paths)


def _written(found: Volumes, stack: Stack, path: Path, gaps: Any, *, upright: bool) -> dict[str, Any]:
    """Load and write one volume; what is to be told of it."""
    from isocenter.pixels.volume_files import write

    with output.bar("Reading slices", len(stack.planes)) as bar:
        volume = found.load(stack, rescale=stack.rescale is None, gaps=gaps, progress=lambda: bar.advance(1))
    moved = bool(volume.tilt) and upright
    if moved:
        volume = volume.upright()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write(volume, path)
    except OSError as error:
        path.unlink(missing_ok=True)
        raise UsageError(f"{path}: {error.strerror or error}") from None
    told: dict[str, Any] = {"file": str(path), "dtype": str(volume.array.dtype), "empty": list(volume.empty)}
    if moved:
        told |= {"upright": True, "shape": list(volume.array.shape), "affine": volume.affine.tolist()}
    return told


def _described(stack: Stack, found: Volumes) -> dict[str, Any]:
    return {
        "SeriesInstanceUID": stack.series,
        "shape": list(stack.shape),
        "spacing": [round(length, 6) for length in stack.spacing],
        "affine": stack.affine.tolist(),
        "tilt": round(stack.tilt, 4),
        "regular": stack.regular,
        "deviation": round(stack.deviation, 6),
        "gaps": [
            {"after": gap.after, "distance": round(gap.distance, 6), "missing": gap.missing} for gap in stack.gaps
        ],
        "duplicates": [found.sources[plane.source].label for plane in stack.duplicates],
        "apart": dict(stack.apart),
    }


def _tell(report: Sequence[dict[str, Any]], left_out: Sequence[dict[str, Any]], *, listed: bool) -> None:
    """The list, or the names of the files written; what is to be known of these, and what is in none, on stderr."""
    if listed and report:
        rows = [
            (
                str(one["volume"]),
                " x ".join(map(str, one["shape"])),
                " x ".join(f"{length:.4g}" for length in one["spacing"]),
                "; ".join(_remarks(one)),
            )
            for one in report
        ]
        output.table("", ("volume", "slices, rows, columns", "spacing, mm", "remarks"), rows)
    for one in () if listed else report:
        if "file" in one:
            output.write(one["file"])
            sys.stdout.flush()
            for remark in _remarks(one):
                output.note(f"note: {one['file']}: {remark}")
    reasons: dict[str, list[str]] = {}
    for one in left_out:
        reasons.setdefault(one["reason"], []).extend(one["files"])
    for reason, files in reasons.items():
        output.note(f"left out: {files[0] if len(files) == 1 else f'{len(files)} objects'}: {reason}")


def _remarks(one: dict[str, Any]) -> list[str]:
    remarks = [f"{name} {value}" for name, value in one["apart"].items()]
    if one["tilt"]:
        remarks.append(f"tilted by {one['tilt']:.2f} degrees{', put upright' if one.get('upright') else ''}")
    if not one["regular"]:
        remarks.append(f"irregular distances, {one['deviation']:.3g} mm off at most")
    elif one["gaps"]:
        missing = sum(gap["missing"] for gap in one["gaps"])
        remarks.append(f"{missing} slice{'s' * (missing != 1)} missing")
    if one["duplicates"]:
        remarks.append(f"{len(one['duplicates'])} left out as copies")
    return remarks
