"""`isocenter render`: pictures of DICOM files."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from isocenter.cli import exit_codes, output
from isocenter.cli.dump import opened
from isocenter.cli.frame_numbers import FrameNumbers
from isocenter.errors import DataSetError, IsocenterError, NotDicomError, PixelError, UsageError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from isocenter.cli.states import State
    from isocenter.display.calibration import Characteristic
    from isocenter.pixels.image import Image
    from isocenter.wire.elements import Buffer

_PICTURES = (".png", ".jpg", ".jpeg", ".webp", ".avif")
_CINES = (".gif", ".mp4", ".webm")
_FUNCTIONS = ("LINEAR", "LINEAR_EXACT", "SIGMOID")
_CELL = 256  # pixels, the longer side of a picture in a montage if --size says nothing
_GREATEST_MONTAGE = 16384


@dataclass(frozen=True)
class _How:
    """What is asked for each picture."""

    window: tuple[float, float] | None
    function: str
    size: tuple[int, int] | None
    invert: bool
    display: Characteristic | None
    square: bool
    overlays: bool
    state: State | None
    depth: int
    subtract: bool


def command(
    files: Annotated[list[str], typer.Argument(metavar="FILE", help="DICOM files and folders; - is standard input.")],
    out: Annotated[
        str | None,
        typer.Option(
            "--out",
            "-o",
            metavar="PATH",
            help="A picture (.png .jpg .webp .avif), a cine (.gif .mp4 .webm), a folder; - is stdout.",
        ),
    ] = None,
    frames: Annotated[
        str, typer.Option(metavar="FRAMES", help="As 1,5-8; all; or middle, which says most. Of a cine all.")
    ] = "middle",
    window: Annotated[
        str | None, typer.Option(metavar="CENTER,WIDTH", help="In Modality LUT units, as HU; else the object's own.")
    ] = None,
    function: Annotated[
        str, typer.Option(metavar="FUNCTION", help="Of --window: LINEAR, LINEAR_EXACT or SIGMOID.")
    ] = "LINEAR",
    size: Annotated[
        str | None, typer.Option(metavar="WIDTHxHEIGHT", help="Fit each picture into this many pixels.")
    ] = None,
    invert: Annotated[bool, typer.Option("--invert", help="Turn the greys.")] = False,
    display: Annotated[
        Path | None,
        typer.Option(metavar="CURVE", help="Characteristic curve of the display to drive by the GSDF (PS3.14)."),
    ] = None,
    state: Annotated[
        str | None, typer.Option(metavar="FILE", help="Presentation state to apply to the images it is made for.")
    ] = None,
    subtract: Annotated[
        bool, typer.Option("--subtract", help="Take the mask away that an angiogram names for each frame.")
    ] = False,
    square: Annotated[
        bool,
        typer.Option("--square/--stored-pixels", help="Stretch pixels until they are square, the default; or not."),
    ] = True,
    overlays: Annotated[
        bool, typer.Option("--overlays/--no-overlays", help="Show overlays, the default; or not.")
    ] = True,
    montage: Annotated[
        int | None, typer.Option(metavar="COLUMNS", min=1, max=100, help="All pictures in one, so many a row.")
    ] = None,
    depth: Annotated[int, typer.Option(metavar="8|16", help="Bits of greys; 16 in PNG.")] = 8,
    rate: Annotated[
        float | None, typer.Option(metavar="FPS", min=0.1, max=500, help="Pictures a second of a cine; else its own.")
    ] = None,
    quality: Annotated[int, typer.Option(metavar="1-100", min=1, max=100, help="Of JPEG, WebP and AVIF.")] = 90,
    kind: Annotated[
        str, typer.Option("--format", metavar="FORMAT", help="In a folder or on stdout: png, jpg, webp, avif, gif, ...")
    ] = "png",
    force: Annotated[bool, typer.Option("--force", help="Overwrite files.")] = False,
    as_json: output.Json = False,
) -> None:
    """Make pictures of DICOM files.

    Greys go through Modality LUT, VOI LUT and presentation as PS3.3 C.11 says. Without --out the picture is drawn in
    the terminal. A file of which no picture can be made is named on stderr with the reason (exit code 1). With --state
    those images are passed over that it is not made for. A cine has all frames, of several files one after the other,
    for as long as the object says; videos are made by ffmpeg.
    """
    how = _how(window, function, size, invert, display)
    how = replace(how, depth=depth, square=square, overlays=overlays, subtract=subtract)
    if state is not None:
        from isocenter.cli.states import load

        how = replace(how, state=load(state, files))
    if montage is not None and how.size is None:
        how = replace(how, size=(_CELL, _CELL))
    if _moving(out, kind, montage, depth):
        pictures = _Pictures(files, "all" if frames == "middle" else frames, how)
        _cine(pictures, out or "", kind, rate, force, as_json)
        return
    pictures = _Pictures(files, frames, how)
    many = False if montage is not None else pictures.many
    target = _Target(out, kind, quality, force, as_json, many=many)
    for name, picture in pictures if montage is None else [("montage", _montage(list(pictures), montage))]:
        target.put(name, picture)
    _finish(pictures)


def _moving(out: str | None, kind: str, montage: int | None, depth: int) -> bool:
    """Whether a cine is asked for; UsageError for what is no picture, and for a cine that cannot be."""
    suffix = f".{kind.lower()}"
    if suffix not in (*_PICTURES, *_CINES):
        raise UsageError(f"--format {kind}: {', '.join(one[1:] for one in (*_PICTURES, *_CINES))} are known")
    moving = out is not None and (suffix in _CINES or Path(out).suffix.lower() in _CINES)
    if moving and (montage is not None or depth != 8):
        raise UsageError("a cine is no montage and has 8 bits")
    return moving


def _finish(pictures: _Pictures) -> None:
    state = pictures.how.state
    if state is not None and not state.used:
        raise UsageError("--state: none of these is an image that the presentation state is made for")
    if pictures.failed:
        raise typer.Exit(exit_codes.SOME_FAILED)


def _cine(pictures: _Pictures, out: str, kind: str, rate: float | None, force: bool, as_json: bool) -> None:
    """All pictures as one cine, or in a folder one for each object of several frames."""
    from isocenter.cli.cine import Cine, write

    path, suffix = Path(out), f".{kind.lower()}"
    if out != "-" and path.suffix.lower() in _CINES and not path.is_dir():
        cines: Iterator[tuple[Path | None, Cine]] = iter([(path, Cine(pictures.all(), rate))])
    elif out == "-":
        cines = iter([(None, Cine(pictures.all(), rate))])
    else:
        cines = ((path / f"{stem}{suffix}", Cine(one, rate)) for stem, one in pictures.by_object())
    for target, cine in cines:
        told = write(cine, target, suffix if target is None else target.suffix.lower(), force)
        if as_json and told:
            output.write_json(told)
        elif told:
            output.write(str(told["file"]))
    _finish(pictures)


def _how(window: str | None, function: str, size: str | None, invert: bool, display: Path | None) -> _How:
    if function.upper() not in _FUNCTIONS:
        raise UsageError(f"--function {function}: {', '.join(_FUNCTIONS)} are known")
    levels = None
    if window is not None:
        levels = _pair(window, ",", "--window")
        if levels[1] <= 0 or (function.upper() == "LINEAR" and levels[1] < 1):
            raise UsageError("--window: the width is above zero, and at least one for LINEAR (PS3.3 C.11.2.1.2)")
    curve = None
    if display is not None:
        from isocenter.display.calibration import read_characteristic

        try:
            curve = read_characteristic(display)
        except OSError as error:
            raise UsageError(f"{display}: {error.strerror or error}") from None
    return _How(
        levels, function.upper(), None if size is None else _size(size), invert, curve, True, True, None, 8, False
    )


def _pair(text: str, between: str, option: str) -> tuple[float, float]:
    try:
        first, second = (float(word) for word in text.lower().split(between))
    except ValueError:
        raise UsageError(f"{option} {text}: two numbers with {between!r} between them are expected") from None
    return first, second


def _size(text: str) -> tuple[int, int]:
    width, height = _pair(text, "x", "--size")
    if not (width.is_integer() and height.is_integer()):
        raise UsageError(f"--size {text}: whole numbers of pixels are expected")
    return int(width), int(height)


# A name for its file, the picture, and for how many ms it is shown in a cine, if the object says that
Shown = tuple[str, "NDArray[np.uint8]", float | None]


class _Pictures:
    """The pictures, one after the other, with names for their files; complaints go to stderr."""

    def __init__(self, files: list[str], frames: str, how: _How) -> None:
        self.failed = False
        self.how = how
        self._files = files
        self._frames = FrameNumbers(frames)
        several = len(files) > 1 or self._frames.many or Path(files[0]).is_dir()
        # A state may be made for one of several files only, as a blending state that needs them all.
        self.many = None if several and how.state is not None else several

    def __iter__(self) -> Iterator[tuple[str, NDArray[np.uint8]]]:
        for name, picture, _ in self.all():
            yield name, picture

    def all(self) -> Iterator[Shown]:
        """Those of all objects, one after the other."""
        for _, pictures in self.by_object():
            yield from pictures

    def by_object(self) -> Iterator[tuple[str, Iterator[Shown]]]:
        """The pictures of each object, under a name for its files; to be taken before the next object's."""
        # Several files of one name, from several folders, must not overwrite each other's pictures.
        names: dict[str, int] = {}
        with output.bar("Rendering", None) as bar:
            for label, stem, buf in self._objects():
                name = stem if not names.get(stem) else f"{stem}-{names[stem] + 1}"
                names[stem] = names.get(stem, 0) + 1
                yield name, self._guarded(label, self._of(name, buf))
                bar.advance(1)

    def _guarded(self, label: str, pictures: Iterator[Shown]) -> Iterator[Shown]:
        try:
            yield from pictures
        except UsageError:
            raise
        except IsocenterError as error:
            output.fail(error, label)
            self.failed = True

    def _objects(self) -> Iterator[tuple[str, str, Buffer]]:
        from isocenter.archive.walk import walk

        for name in self._files:
            if name == "-":
                with opened(name) as buf:
                    yield "standard input", "picture", buf
                continue
            # What is named is meant; what lies in a folder beside objects is not.
            found = False
            for candidate in walk(name, everything=not Path(name).is_dir()):
                found = True
                stem = Path(candidate.member.filename if candidate.member else candidate.path).stem
                try:
                    if candidate.member is not None:
                        yield candidate.label, stem, b"".join(candidate.chunks())
                        continue
                    with opened(str(candidate.path)) as buf:
                        yield candidate.label, stem, buf
                except DataSetError as error:
                    output.fail(error, candidate.label)
                    self.failed = True
            if not found:
                output.fail(NotDicomError("there is no DICOM file in it"), name)
                self.failed = True

    def _of(self, stem: str, buf: Buffer) -> Iterator[Shown]:
        from isocenter.pixels.cine import durations
        from isocenter.pixels.image import Image
        from isocenter.pixels.render import render
        from isocenter.wire.part10 import read_header

        how = self.how
        with memoryview(buf) as view:
            meta = read_header(view)
            try:
                image = Image.of(view, meta.transfer_syntax, meta.data_set_offset)
            except PixelError:
                if how.state is not None:
                    return  # as the state itself, among its images
                raise
            numbers = self._frames.of(image.number_of_frames)
            if how.state is not None:
                numbers = how.state.covered(image, numbers)
            times = durations(image.attributes, image.number_of_frames)
            for number in numbers:
                notes: list[str] = []
                with _superimposed(how, image, number) as over:
                    picture = render(
                        image, number, window=how.window, function=how.function, size=how.size, invert=how.invert,
                        display=how.display, square=how.square, overlays=how.overlays, notes=notes, over=over,
                        depth=how.depth, subtract=how.subtract, state=None if how.state is None else how.state.of,
                    )  # fmt: skip
                for note in notes:
                    output.note(f"{stem}: {note}")
                time = None if times is None else times[number - 1]
                yield (stem if len(numbers) == 1 else f"{stem}-{number:04d}"), picture, time


def _superimposed(how: _How, image: Image, number: int) -> AbstractContextManager[dict[int, tuple[Image, int]] | None]:
    return nullcontext() if how.state is None else how.state.over(image, number)


def _montage(pictures: list[tuple[str, NDArray[np.uint8]]], columns: int) -> NDArray[np.uint8]:
    """All pictures in cells of one size, in order, on black; shape (rows, columns) or (rows, columns, 3)."""
    import numpy as np

    if not pictures:
        raise UsageError("there is nothing to put into a montage")
    height = max(picture.shape[0] for _, picture in pictures)
    width = max(picture.shape[1] for _, picture in pictures)
    columns = min(columns, len(pictures))
    rows = -(-len(pictures) // columns)
    if max(rows * height, columns * width) > _GREATEST_MONTAGE:
        raise UsageError(
            f"the montage would be over {_GREATEST_MONTAGE} pixels: take fewer pictures or a smaller --size"
        )
    colour = any(picture.ndim == 3 for _, picture in pictures)
    sheet = np.zeros((rows * height, columns * width, 3), pictures[0][1].dtype)
    for at, (_, picture) in enumerate(pictures):
        top = at // columns * height + (height - picture.shape[0]) // 2
        left = at % columns * width + (width - picture.shape[1]) // 2
        cell = picture if picture.ndim == 3 else picture[:, :, None]
        sheet[top : top + picture.shape[0], left : left + picture.shape[1]] = cell
    return sheet if colour else np.ascontiguousarray(sheet[:, :, 0])


class _Target:
    """Where pictures go: a file, files in a folder, stdout, or the terminal.

    `many` is None where nobody knows how many there will be: then a name of a picture is for one.
    """

    def __init__(
        self, out: str | None, kind: str, quality: int, force: bool, as_json: bool, *, many: bool | None
    ) -> None:
        self._quality = quality
        self._force = force
        self._json = as_json
        self._stdout = out == "-"
        self._path = None if out is None or self._stdout else Path(out)
        self._suffix = f".{kind.lower()}"
        self._folder = False
        self._written = 0
        if self._path is not None:
            named = self._path.suffix.lower() in _PICTURES
            self._folder = bool(many) or self._path.is_dir() or str(out).endswith("/") or (many is None and not named)
            if self._folder and self._path.suffix.lower() in _PICTURES and not self._path.is_dir():
                raise UsageError(f"{out}: several pictures need a folder, or --montage")
            if not self._folder and self._path.suffix.lower() not in _PICTURES:
                raise UsageError(f"{out}: a picture's name ends with {', '.join(_PICTURES)}")
        elif self._stdout and many:
            raise UsageError("several pictures need a folder (--out), or --montage")
        elif out is None and as_json:
            raise UsageError("--json tells of files: --out is missing")

    def put(self, name: str, picture: NDArray[np.uint8]) -> None:
        """Write or show one picture."""
        from isocenter.pixels.pictures import MEDIA_TYPES, encode

        if self._path is None and not self._stdout:
            _draw(picture, name)
            return
        self._written += 1
        if self._written > 1 and not self._folder:
            raise UsageError("several pictures need a folder (--out), or --montage")
        if self._stdout:
            sys.stdout.buffer.write(encode(picture, MEDIA_TYPES[self._suffix], self._quality))
            return
        assert self._path is not None
        path = self._path / f"{name}{self._suffix}" if self._folder else self._path
        data = encode(picture, MEDIA_TYPES[path.suffix.lower()], self._quality)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("wb" if self._force else "xb") as file:
                file.write(data)
        except FileExistsError:
            raise UsageError(f"{path} is there already: --force overwrites it") from None
        except OSError as error:
            raise UsageError(f"{path}: {error.strerror or error}") from None
        rows, columns = picture.shape[:2]
        if self._json:
            output.write_json({"file": str(path), "width": columns, "height": rows})
        else:
            output.write(str(path))


def _draw(picture: NDArray[np.uint8], name: str) -> None:
    """The picture in the terminal: each character is two pixels, one above the other."""
    import numpy as np

    from isocenter.pixels.resample import fitted, resize

    console = output.console()
    if not console.is_terminal:
        raise UsageError("stdout is no terminal to draw in: give a file or a folder with --out")
    from rich.segment import Segment, Segments
    from rich.style import Style

    rgb = picture if picture.ndim == 3 else np.repeat(picture[:, :, None], 3, axis=2)
    rows, columns = fitted(rgb.shape[0], rgb.shape[1], (console.width, max(2, 2 * (console.height - 3))), 1.0)
    small = resize(rgb, rows + rows % 2, columns)
    lines: list[Segment] = []
    for top, bottom in zip(small[::2], small[1::2], strict=True):
        for (r, g, b), (r2, g2, b2) in zip(top.tolist(), bottom.tolist(), strict=True):
            lines.append(Segment("\u2580", Style.parse(f"rgb({r},{g},{b}) on rgb({r2},{g2},{b2})")))
        lines.append(Segment.line())
    console.print(Segments(lines), end="")
    output.note(name)
