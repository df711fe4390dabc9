"""Cine: times from the header, GIF, videos by ffmpeg."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image as Pillow
from typer.testing import CliRunner, Result

import isocenter
import peers
from isocenter.cli.main import app
from isocenter.errors import PixelError, UsageError
from isocenter.pixels import cine
from isocenter.pixels.cine import VideoFailed, durations, gif, video
from pixel_objects import data_set, element, image


def times(extra: bytes, frames: int = 4) -> list[float] | None:
    found = image(data_set(bytes(24 * frames), frames=frames), "1.2.840.10008.1.2.1")
    assert durations(found.attributes, frames) is None
    # The attributes of time come before those of the image
    described = image(extra + data_set(bytes(24 * frames), frames=frames), "1.2.840.10008.1.2.1")
    return durations(described.attributes, frames)


RECOMMENDED = element(0x00082144, "IS", "20")
RATE, TIME = element(0x00180040, "IS", "50"), element(0x00181063, "DS", "40")
VECTOR = element(0x00181065, "DS", "0\\10\\20\\30")


@pytest.mark.parametrize(
    ("extra", "expected"),
    [
        (RATE, [20.0] * 4),
        (RATE + TIME, [40.0] * 4),
        (RATE + TIME + VECTOR, [10.0, 20.0, 30.0, 20.0]),
        (RECOMMENDED + RATE + TIME + VECTOR, [50.0] * 4),
        (TIME + element(0x00181065, "DS", "0\\10"), [40.0] * 4),
        (element(0x00181063, "DS", "0"), None),
        (element(0x00181063, "DS", "1e30"), [60_000.0] * 4),
        (element(0x00181065, "DS", "0\\0\\0\\0"), None),
    ],
)
def test_times(extra: bytes, expected: list[float] | None) -> None:
    assert times(extra) == expected


def test_times_that_are_no_numbers() -> None:
    with pytest.raises(PixelError):
        times(element(0x00181063, "DS", "soon"))


def shades(count: int) -> list[tuple[np.ndarray, float]]:
    """Pictures with all greys, each a little further on."""
    ramp = np.arange(256, dtype=np.uint8).reshape(16, 16)
    return [(np.roll(ramp, n, axis=1), 40.0) for n in range(count)]


def read_gif(data: bytes) -> tuple[list[np.ndarray], list[int], Any]:
    with Pillow.open(io.BytesIO(data)) as file:
        frames, delays = [], []
        for number in range(file.n_frames):  # type: ignore[attr-defined]
            file.seek(number)
            frames.append(np.asarray(file.convert("RGB")))
            delays.append(int(file.info["duration"]))
        return frames, delays, file.info.get("loop")


def test_greys_of_a_gif_are_exact() -> None:
    pictures = shades(5)
    frames, delays, loop = read_gif(b"".join(gif(pictures)))
    assert [frame[:, :, 0].tolist() for frame in frames] == [picture.tolist() for picture, _ in pictures]
    assert (delays, loop) == ([40] * 5, 0)


def test_rounded_times_add_up() -> None:
    pictures = [(picture, 1000 / 30) for picture, _ in shades(30)]
    _, delays, _ = read_gif(b"".join(gif(pictures)))
    assert set(delays) == {30, 40}
    assert sum(delays) == 1000


def test_colours_of_a_gif() -> None:
    picture = np.zeros((20, 30, 3), np.uint8)
    picture[:, :10, 0], picture[:, 10:20, 1], picture[:, 20:, 2] = 200, 150, 255
    frames, _, _ = read_gif(b"".join(gif([(picture, 100.0), (picture[::-1].copy(), 100.0)])))
    assert np.abs(frames[0].astype(int) - picture).max() <= 8


def test_few_colours_among_many_greys_are_not_lost() -> None:
    """As in an ultrasound picture, where a median cut makes greys of them."""
    noise = np.random.default_rng(3).integers(0, 256, (120, 160), np.uint8)
    picture = np.repeat(noise[:, :, None], 3, axis=2)
    picture[5:9, 5:9] = (90, 190, 170)
    picture[20:23, 5:9] = (200, 30, 20)
    frames, _, _ = read_gif(b"".join(gif([(picture, 100.0)])))
    assert np.abs(frames[0].astype(int) - picture).max() <= 10


def test_a_gif_takes_its_pictures_one_at_a_time() -> None:
    taken = []

    def pictures() -> Any:
        for number, one in enumerate(shades(3)):
            taken.append(number)
            yield one

    pieces = gif(pictures())
    assert next(pieces).startswith(b"GIF89a")
    assert taken == [0]


def test_pictures_of_a_gif_have_one_size() -> None:
    with pytest.raises(PixelError, match="differ in size"):
        b"".join(gif([(np.zeros((4, 4), np.uint8), 40.0), (np.zeros((4, 5), np.uint8), 40.0)]))


def probed(path: Path) -> dict[str, Any]:
    argv = ["ffprobe", "-v", "error", "-count_frames", "-show_streams", "-of", "json", str(path)]
    streams: list[dict[str, Any]] = json.loads(subprocess.check_output(argv))["streams"]
    return streams[0]


@pytest.mark.parametrize(("suffix", "codec"), [(".mp4", "h264"), (".webm", "vp9")])
def test_a_video(suffix: str, codec: str, tmp_path: Path) -> None:
    peers.require("ffmpeg", "ffprobe")
    path = tmp_path / f"-a%d;$(x){suffix}"  # a name that must not be a pattern, an option or a command
    pictures = [np.full((31, 45), level, np.uint8) for level in (0, 64, 128, 255)]
    assert video(iter(pictures), path, 12.5) == 4
    stream = probed(path)
    assert (stream["codec_name"], stream["width"], stream["height"]) == (codec, 46, 32)
    assert (stream["nb_read_frames"], stream["r_frame_rate"]) == ("4", "25/2")
    argv = ["ffmpeg", "-v", "error", "-i", f"file:{path}", "-f", "rawvideo", "-pix_fmt", "gray", "pipe:1"]
    decoded = np.frombuffer(subprocess.check_output(argv), np.uint8).reshape(4, 32, 46)
    assert [abs(int(frame[5, 5]) - level) <= 3 for frame, level in zip(decoded, (0, 64, 128, 255), strict=True)] == (
        [True] * 4
    )


def test_without_ffmpeg(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(UsageError, match=r"not installed: install it, or make a \.gif"):
        video(iter([np.zeros((4, 4), np.uint8)]), tmp_path / "a.mp4", 10)


def program(folder: Path, text: str) -> None:
    path = folder / "ffmpeg"
    path.write_text(f"#!{sys.executable}\nimport sys, time\n{text}\n")
    path.chmod(0o755)


def test_an_ffmpeg_that_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program(tmp_path, "sys.stderr.write('Unknown encoder\\n'); sys.exit(3)")
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    pictures = (np.zeros((512, 512), np.uint8) for _ in range(50))
    with pytest.raises(VideoFailed, match="Unknown encoder"):
        video(pictures, tmp_path / "a.mp4", 10)


def test_an_ffmpeg_that_hangs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program(tmp_path, "time.sleep(600)")
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setattr(cine, "_PATIENCE", 0.5)
    pictures = (np.zeros((512, 512), np.uint8) for _ in range(50))
    with pytest.raises(VideoFailed, match="too long"):
        video(pictures, tmp_path / "a.mp4", 10)


# --- the command ----------------------------------------------------------------------------------------------------


def render(*arguments: object) -> Result:
    return CliRunner().invoke(app, ["render", *map(str, arguments)])


@pytest.fixture
def loop(tmp_path: Path) -> Path:
    frames = np.stack([np.roll(np.tile(np.arange(48, dtype=np.uint8) * 5, (32, 1)), 4 * n, axis=1) for n in range(12)])
    made: Any = isocenter.create(frames, frame_time=40.0)
    made.save_as(tmp_path / "loop.dcm", enforce_file_format=True)
    return tmp_path / "loop.dcm"


def test_render_a_cine(loop: Path, tmp_path: Path) -> None:
    done = render(loop, "-o", tmp_path / "a.gif", "--json")
    assert done.exit_code == 0, done.output
    told = {"file": str(tmp_path / "a.gif"), "pictures": 12, "width": 48, "height": 32}
    assert json.loads(done.stdout) == told
    frames, delays, _ = read_gif((tmp_path / "a.gif").read_bytes())
    assert (len(frames), set(delays)) == (12, {40})
    assert render(loop, "-o", tmp_path / "a.gif").exit_code == 2
    assert render(loop, "-o", tmp_path / "a.gif", "--force", "--frames", "2-4", "--rate", 5).exit_code == 0
    frames, delays, _ = read_gif((tmp_path / "a.gif").read_bytes())
    assert (len(frames), set(delays)) == (3, {200})
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.gif", "loop.dcm"]


def test_render_a_video(loop: Path, tmp_path: Path) -> None:
    peers.require("ffmpeg", "ffprobe")
    done = render(loop, "-o", tmp_path / "a.mp4", "--size", "96x64")
    assert done.exit_code == 0, done.output
    stream = probed(tmp_path / "a.mp4")
    assert (stream["width"], stream["height"], stream["r_frame_rate"]) == (96, 64, "25/1")
    assert render(loop, "-o", "-", "--format", "mp4").exit_code == 2


def test_files_make_one_cine_and_a_folder_takes_one_each(loop: Path, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    for name in "ab":
        (tmp_path / "in" / f"{name}.dcm").write_bytes(loop.read_bytes())
    assert render(tmp_path / "in", "-o", tmp_path / "both.gif").exit_code == 0
    assert len(read_gif((tmp_path / "both.gif").read_bytes())[0]) == 24
    assert render(tmp_path / "in", "-o", tmp_path / "out", "--format", "gif").exit_code == 0
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["a.gif", "b.gif"]
    piped = subprocess.run(
        [Path(sys.executable).parent / "isocenter", "render", loop, "-o", "-", "--format", "gif"],
        capture_output=True, check=True,
    )  # fmt: skip
    assert len(read_gif(piped.stdout)[0]) == 12


def test_what_cannot_be_a_cine(loop: Path, tmp_path: Path) -> None:
    other: Any = isocenter.create(np.zeros((3, 10, 10), np.uint8), frame_time=40.0)
    other.save_as(tmp_path / "other.dcm", enforce_file_format=True)
    done = render(loop, tmp_path / "other.dcm", "-o", tmp_path / "a.gif")
    assert done.exit_code == 2
    assert "one size" in done.stderr
    assert not (tmp_path / "a.gif").exists()
    assert render(loop, "-o", tmp_path / "a.gif", "--depth", 16).exit_code == 2
    assert render(loop, "-o", tmp_path / "a.gif", "--montage", 2).exit_code == 2
