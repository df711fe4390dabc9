"""Rendered multi-frame objects as a GIF (PS3.18 Table 8.7.4-1), frames by WADO-RS whose places are found once."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pytest
from PIL import Image as Pillow
from pydicom.encaps import encapsulate

import isocenter
from isocenter.pixels import frames as frames_module
from skins.conftest import archived
from skins.web_harness import Web, saved

GIF = "image/gif"


def loop(frames: int = 6, frame_time: float = 40.0) -> Any:
    values = np.stack([np.full((12, 16), 40 * n % 256, np.uint8) for n in range(frames)])
    values[:, 3:6, 3:6] = 255
    return isocenter.create(values, frame_time=frame_time)


def put(web: Web, *objects: Any) -> list[str]:
    response = web.store(*(saved(ds) for ds in objects))
    assert response.status_code == 200, response.text
    return [
        item["00081190"]["Value"][0].removeprefix("http://archive.test")
        for item in response.json()["00081199"]["Value"]
    ]


def read(data: bytes) -> tuple[list[np.ndarray], list[int]]:
    with Pillow.open(io.BytesIO(data)) as file:
        frames, delays = [], []
        for number in range(file.n_frames):  # type: ignore[attr-defined]
            file.seek(number)
            frames.append(np.asarray(file.convert("L")))
            delays.append(int(file.info["duration"]))
        return frames, delays


def test_an_instance_moves(web: Web) -> None:
    (path,) = put(web, loop())
    response = web.get(f"{path}/rendered", GIF)
    assert (response.status_code, response.headers["content-type"]) == (200, GIF)
    frames, delays = read(response.content)
    stills = [imagecodecs.png_decode(web.get(f"{path}/frames/{n}/rendered", "image/png").content) for n in range(1, 7)]
    assert [frame.tolist() for frame in frames] == [still.tolist() for still in stills]
    assert delays == [40] * 6
    assert web.get(f"{path}/rendered", GIF, headers={"if-none-match": response.headers["etag"]}).status_code == 304


def test_a_still_picture_is_what_whoever_asks_for_nothing_gets(web: Web) -> None:
    (path,) = put(web, loop())
    for accept in (None, "*/*", "image/*", "image/gif;q=0.5, image/png"):
        assert web.get(f"{path}/rendered", accept).headers["content-type"] in ("image/jpeg", "image/png")
    series = path.partition("/instances/")[0]
    assert web.get(f"{series}/rendered", GIF).status_code == 406
    assert web.get(f"{path}/thumbnail", GIF).status_code == 406


def test_some_frames_in_the_order_asked_for(web: Web) -> None:
    (path,) = put(web, loop())
    frames, _ = read(web.get(f"{path}/frames/5,2,3/rendered", GIF).content)
    assert [int(frame[0, 0]) for frame in frames] == [160, 40, 80]
    assert web.get(f"{path}/frames/2,7/rendered", GIF).status_code == 404
    assert web.get(f"{path}/frames/2,3/rendered", "image/png").status_code == 400


def test_viewport_and_window_are_those_of_pictures(web: Web) -> None:
    (path,) = put(web, loop())
    frames, _ = read(web.get(f"{path}/rendered?viewport=32,24&window=100,1,linear&accept=image/gif").content)
    assert frames[0].shape == (24, 32)
    assert (frames[2][0, 0], frames[3][0, 0]) == (0, 255)


def test_a_gif_has_an_end(tmp_path: Path) -> None:
    with archived(tmp_path, web_cine_frames=5) as web:
        (path,) = put(web, loop())
        refused = web.get(f"{path}/rendered", GIF)
        assert refused.status_code == 400
        assert "web.cine_frames" in refused.text
        assert len(read(web.get(f"{path}/frames/1,2,3,4,5/rendered", GIF).content)[0]) == 5


def test_what_has_no_pixels_does_not_move(web: Web) -> None:
    ds = loop()
    ds.PixelData = ds.PixelData[:100]
    (path,) = put(web, ds)
    assert web.get(f"{path}/rendered", GIF).status_code == 422


def test_frames_of_an_object_without_a_table_are_looked_for_once(web: Web, monkeypatch: pytest.MonkeyPatch) -> None:
    ds = loop(30)
    parts = [ds.PixelData[at : at + 192] for at in range(0, 30 * 192, 192)]
    ds.PixelData = encapsulate(parts, has_bot=False)
    ds["PixelData"].VR, ds["PixelData"].is_undefined_length = "OB", True
    ds.file_meta.TransferSyntaxUID = "1.2.840.10008.1.2.1.98"
    (path,) = put(web, ds)
    walks = []

    def walk(*args: Any) -> Any:
        found = original(*args)
        walks.append(len(found[0]))
        return found

    original = frames_module.places
    monkeypatch.setattr(frames_module, "places", walk)
    for number in (1, 30, 15):
        response = web.get(f"{path}/frames/{number}", 'multipart/related; type="application/octet-stream"')
        assert response.status_code == 200
        assert parts[number - 1] in response.content
    assert web.get(f"{path}/frames/7/rendered", "image/png").status_code == 200
    assert walks == [2, 30]  # whoever asks for the first frame waits for no others
