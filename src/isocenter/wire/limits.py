"""One object with every limit on what received bytes may make us do; it goes everywhere.

The numbers are rows of the settings table; see isocenter.settings.
"""

from __future__ import annotations

from dataclasses import dataclass

from isocenter.settings import Settings

_DEFAULT = Settings()


@dataclass(frozen=True, slots=True)
class Limits:
    """Upper bounds, checked before anything is allocated."""

    nesting: int = _DEFAULT.limits_nesting
    elements: int = _DEFAULT.limits_elements
    inflate_ratio: int = _DEFAULT.limits_inflate_ratio
    inflate_bytes: int = _DEFAULT.limits_inflate_bytes
    frame_bytes: int = _DEFAULT.limits_frame_bytes
    frames: int = _DEFAULT.limits_frames
    object_bytes: int = _DEFAULT.limits_object_bytes
    associate_pdu: int = _DEFAULT.limits_associate_pdu
    associate_items: int = _DEFAULT.limits_associate_items
    presentation_contexts: int = _DEFAULT.limits_presentation_contexts
    command_bytes: int = _DEFAULT.limits_command_bytes
    identifier_bytes: int = _DEFAULT.limits_identifier_bytes
    header_bytes: int = _DEFAULT.limits_header_bytes

    @classmethod
    def of(cls, settings: Settings) -> Limits:
        return cls(**{name: getattr(settings, f"limits_{name}") for name in cls.__slots__})


DEFAULT_LIMITS = Limits()
