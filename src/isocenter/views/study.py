"""All instances of one study in a view: what is converted, what follows because it refers to that, and what stays."""

from __future__ import annotations

from collections.abc import Sequence

from isocenter.views.view import Source, View, Viewed


def viewed(sources: Sequence[Source], view: View) -> list[Viewed]:
    """The instances of one study in `view`, in the order of series and instances as given; pure and deterministic.

    What cannot be converted stays as received, and the log says why.
    """
    return [_as_received(source) for source in sources]


def _as_received(source: Source) -> Viewed:
    ref = source.ref
    return Viewed(ref.study, ref.series, ref.instance, ref.sop_class, ref.transfer_syntax, source.header, source=ref)
