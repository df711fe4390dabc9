"""New UIDs (PS3.5 section 9): below 2.25 from a UUID (B.2), or below the caller's own root.

With a seed the same UIDs come out every time, so that making the same objects again makes the same objects.
"""

from __future__ import annotations

import uuid

from isocenter.errors import UsageError
from isocenter.names import is_uid

UUID_ROOT = "2.25"
_NAMESPACE = uuid.UUID("6d5d9c2e-1d0b-4b5e-9d3c-6a0d4c1f7b52")


class UIDs:
    """A source of UIDs. `root` is 2.25 or a root of one's own, at most 43 characters: 20 digits must fit after it."""

    def __init__(self, root: str = UUID_ROOT, seed: str | None = None) -> None:
        if not is_uid(root) or len(root) > 43 or "." not in root:
            raise UsageError(f"uid_root: {root!r} is not a UID of at most 43 characters")
        self._root = root
        self._seed = seed

    def new(self, role: str) -> str:
        """A UID for `role` ("study", "instance 3"); the same for the same seed and role, else fresh."""
        if self._seed is None:
            number = uuid.uuid4().int
        else:
            number = uuid.uuid5(_NAMESPACE, f"{self._seed}\n{role}").int
        return f"{self._root}.{number % 10 ** (63 - len(self._root))}"
