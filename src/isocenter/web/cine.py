"""Frames of an instance as a GIF (PS3.18 Table 8.7.4-1, multi-frame images), sent while it is made."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import closing

from starlette.requests import Request
from starlette.responses import Response

from isocenter.errors import BadRequest, NoSuchFrame
from isocenter.model import InstanceRef
from isocenter.pixels.cine import DEFAULT, durations, gif
from isocenter.pixels.greys import Picture
from isocenter.web.body import in_threads, primed, streamed
from isocenter.web.context import Context, context_of
from isocenter.web.negotiate import Offer
from isocenter.web.rendering import Rendering, shown

GIF = Offer("image/gif")


async def answer_cine(
    request: Request, ref: InstanceRef, numbers: Sequence[int], rendering: Rendering, fields: Mapping[str, str]
) -> Response:
    """The frames `numbers`, all if there are none, at the object's own speed. Raises as `shown`, BadRequest for more
    than `web.cine_frames`."""
    context = context_of(request)
    pieces = in_threads(_pieces(context, ref, numbers, rendering), context.decoding)
    return streamed(request, await primed(pieces), GIF.name, None, fields)


def _pieces(context: Context, ref: InstanceRef, numbers: Sequence[int], rendering: Rendering) -> Iterator[bytes]:
    with closing(_pictures(context, ref, numbers, rendering)) as pictures:
        yield from gif(pictures)


def _pictures(
    context: Context, ref: InstanceRef, numbers: Sequence[int], rendering: Rendering
) -> Generator[tuple[Picture, float], None, None]:
    with context.archive.image(ref) as image:
        frames = image.number_of_frames
        chosen = numbers or range(1, frames + 1)
        if max(chosen) > frames:
            raise NoSuchFrame(f"Number of Frames is {frames}", frame=max(chosen))
        if len(chosen) > context.settings.web_cine_frames:
            raise BadRequest(
                f"a GIF of {len(chosen)} frames is longer than web.cine_frames: name some, as in /frames/1,2,3/rendered"
            )
        times = durations(image.attributes, frames) or [DEFAULT] * frames
        for number in chosen:
            yield shown(context, ref, image, number, rendering), times[number - 1]
