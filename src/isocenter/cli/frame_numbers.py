"""`--frames`: which frames of an object are meant."""

from __future__ import annotations

from isocenter.errors import NoSuchFrame, UsageError


class FrameNumbers:
    """Which frames of each object; UsageError for what does not say that."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._ranges: list[tuple[int, int]] = []
        for part in text.split(",") if text not in ("middle", "all") else ():
            first, dash, last = part.partition("-")
            if not first.strip().isdecimal() or (dash and not last.strip().isdecimal()):
                raise UsageError(f"--frames {text}: numbers and ranges, as 1,5-8, or all or middle are expected")
            begin, end = int(first), int(last) if dash else int(first)
            if not 1 <= begin <= end:
                raise UsageError(f"--frames {text}: frames are counted from 1, and ranges ascend")
            self._ranges.append((begin, end))

    @property
    def many(self) -> bool:
        """Whether an object may have several of them."""
        return self._text == "all" or len(self._ranges) > 1 or any(begin < end for begin, end in self._ranges)

    def of(self, count: int) -> list[int]:
        """The numbers, from 1, for an object of `count` frames. NoSuchFrame for one that it lacks."""
        if self._text == "middle":
            return [(count + 1) // 2]
        if self._text == "all":
            return list(range(1, count + 1))
        for _, end in self._ranges:
            if end > count:
                raise NoSuchFrame(f"Number of Frames is {count}", frame=end)
        return [number for begin, end in self._ranges for number in range(begin, end + 1)]
