"""Cine: how long each frame is shown (PS3.3 C.7.6.5, C.7.6.6), and moving pictures as GIF, MP4 and WebM.

A GIF is made by Pillow, a picture at a time, so that a long one takes no more memory than a short one. Videos are made
by ffmpeg, where it is installed, as a process that is given raw pictures and a bounded time.
"""

from __future__ import annotations

import contextlib
import itertools
import math
import shutil
import struct
import subprocess
import tempfile
import threading
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from isocenter.errors import IsocenterError, PixelError, UsageError
from isocenter.pixels.header import Attributes

if TYPE_CHECKING:
    from isocenter.pixels.greys import Picture

_RECOMMENDED, _CINE_RATE, _FRAME_TIME, _FRAME_TIME_VECTOR = 0x00082144, 0x00180040, 0x00181063, 0x00181065
# What is looked for in a header
TAGS = frozenset({_RECOMMENDED, _CINE_RATE, _FRAME_TIME, _FRAME_TIME_VECTOR})

DEFAULT = 100.0  # ms a frame of an object that does not say, as in the viewer
_SHORTEST, _LONGEST = 1.0, 60_000.0
_GIF_SHORTEST = 2  # hundredths of a second; browsers show what has less for ten
_GIF_SIDE = 65535
VIDEOS = {
    ".mp4": ("-c:v", "libx264", "-preset", "medium", "-crf", "18", "-movflags", "+faststart"),
    ".webm": ("-c:v", "libvpx-vp9", "-crf", "24", "-b:v", "0", "-row-mt", "1"),
}
_PATIENCE = 60.0  # seconds in which ffmpeg has to take a picture
_AT_THE_END = 2.0  # and more for each of those that it has when no more come


class VideoFailed(IsocenterError):
    """ffmpeg made no video of the pictures."""

    code = "video-failed"
    hint = "Try a GIF, or see whether this ffmpeg has libx264 (MP4) or libvpx-vp9 (WebM)."


def durations(attributes: Attributes, frames: int) -> list[float] | None:
    """How long each of `frames` frames is shown, in ms; None if the object does not say.

    Recommended Display Frame Rate is what the display is asked for; else the times between frames, of Frame Time Vector
    or Frame Time; else Cine Rate. PixelError for values that are no numbers.
    """
    for tag in (_RECOMMENDED, _FRAME_TIME_VECTOR, _FRAME_TIME, _CINE_RATE):
        values = attributes.numbers(tag)
        if tag == _FRAME_TIME_VECTOR:
            # Each value is the time since the frame before, the first one's is 0; the last frame stays as those do.
            between = list(values[1:]) if len(values) == frames > 1 else []
            if between and all(math.isfinite(one) and one >= 0 for one in between) and sum(between):
                return [_bounded(one) for one in (*between, sum(between) / len(between))]
            continue
        if values and math.isfinite(values[0]) and values[0] > 0:
            return [_bounded(values[0] if tag == _FRAME_TIME else 1000.0 / values[0])] * frames
    return None


def _bounded(time: float) -> float:
    return min(_LONGEST, max(_SHORTEST, time))


def gif(pictures: Iterable[tuple[Picture, float]]) -> Iterator[bytes]:
    """An endless GIF of pictures of one size, each with its time in ms, piece by piece.

    Greys are exact; of colours each picture has 256, so that none is far from what it was. PixelError for pictures that
    differ in size.
    """
    from PIL import GifImagePlugin, Image

    greys = bytes(level for level in range(256) for _ in range(3))
    shape: tuple[int, ...] = ()
    # Times are hundredths of a second: what rounding takes from one picture it gives to the next.
    now, shown = 0.0, 0
    for picture, time in pictures:
        if not shape:
            shape = picture.shape[:2]
            if max(shape) > _GIF_SIDE:
                raise PixelError(f"a GIF has no sides over {_GIF_SIDE}")
            yield b"GIF89a" + struct.pack("<HHBBB", shape[1], shape[0], 0x70, 0, 0)
            yield b"\x21\xff\x0bNETSCAPE2.0\x03\x01\0\0\0"
        if picture.shape[:2] != shape:
            raise PixelError("the pictures of a cine differ in size")
        now += time / 10
        delay = max(_GIF_SHORTEST, round(now) - shown)
        shown += delay
        if picture.ndim == 2:
            image = Image.frombytes("P", (shape[1], shape[0]), picture.tobytes())
            image.putpalette(greys)
        else:
            # The colours that are far from each other, and not those that are many: of an ultrasound nearly all are
            # greys, and the few that are not are what matters.
            image = Image.fromarray(picture).quantize(256, Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE)
        yield b"".join(GifImagePlugin.getdata(image, duration=10 * delay, include_color_table=True))
    if shape:
        yield b"\x3b"


def find_ffmpeg() -> str:
    """The program. UsageError, with what to do, where it is not on the path."""
    program = shutil.which("ffmpeg")
    if program is None:
        raise UsageError("videos are made by ffmpeg, which is not installed: install it, or make a .gif")
    return program


def video(pictures: Iterable[Picture], path: Path, rate: float) -> int:
    """Write an MP4 (H.264) or WebM (VP9), as the name of `path` says, of pictures of one size; their number.

    `rate` is in pictures a second. Raises UsageError without ffmpeg or pictures, VideoFailed if it fails or takes too
    long, PixelError for pictures that differ in size.
    """
    program = find_ffmpeg()
    iterator = iter(pictures)
    first = next(iterator, None)
    if first is None:
        raise UsageError("there is nothing to make a video of")
    rows, columns = first.shape[:2]
    argv = [
        program, "-nostdin", "-loglevel", "error", "-y", "-f", "rawvideo", "-pix_fmt", "rgb24",
        "-s", f"{columns}x{rows}", "-r", f"{rate:.6f}", "-i", "pipe:0", "-an",
        # H.264 in its common form has half the colours of the pixels, so both sides have to be even.
        "-vf", "pad=ceil(iw/2)*2:ceil(ih/2)*2,scale=out_color_matrix=bt709:out_range=tv", "-pix_fmt", "yuv420p",
        "-colorspace", "bt709", "-color_primaries", "bt709", "-color_trc", "iec61966-2-1", "-color_range", "tv",
        *VIDEOS[path.suffix.lower()], f"file:{path}",
    ]  # fmt: skip
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=log, stderr=log)
        assert process.stdin is not None
        watch = _Watch(process)
        count = 0
        try:
            for picture in itertools.chain((first,), iterator):
                if picture.shape[:2] != (rows, columns):
                    raise PixelError("the pictures of a cine differ in size")
                watch.restart()
                process.stdin.write(_rgb(picture))
                count += 1
            watch.restart(_AT_THE_END * count)
            process.stdin.close()
            process.wait()
        except BrokenPipeError:
            process.wait()
        finally:
            watch.stop()
            if process.poll() is None:
                process.kill()
                process.wait()
            with contextlib.suppress(BrokenPipeError):
                process.stdin.close()  # what is still in its buffer nobody takes
        if process.returncode:
            log.seek(0)
            said = log.read(2000).decode("utf-8", "replace").strip().splitlines()
            why = "it took too long" if watch.killed else said[-1] if said else f"it ended with {process.returncode}"
            raise VideoFailed(f"ffmpeg made no video: {why}")
    return count


class _Watch:
    """Kills a process that does not take what it is given, or does not end."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self._process = process
        self._timer: threading.Timer | None = None
        self.killed = False

    def restart(self, more: float = 0.0) -> None:
        self.stop()
        self._timer = threading.Timer(_PATIENCE + more, self._kill)
        self._timer.daemon = True
        self._timer.start()

    def stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()

    def _kill(self) -> None:
        self.killed = True
        self._process.kill()


def _rgb(picture: Picture) -> bytes:
    return (picture if picture.ndim == 3 else np.repeat(picture[:, :, None], 3, axis=2)).tobytes()
