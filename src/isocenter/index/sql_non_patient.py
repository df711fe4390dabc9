"""Searching the instances of no patient (PS3.4 Annexes U, X, BB, HH, II and JJ).

They are few, hundreds where images are millions, and each kind has keys of its own. So they have no columns: their rows
are read in order, and `matching` decides. Only those of known UIDs are looked up.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import orjson
import sqlalchemy as sa

from isocenter.index import schema
from isocenter.index.keys import AVAILABLE_TRANSFER_SYNTAX, UNIQUE, known_tags
from isocenter.index.matching import is_universal, key, matches
from isocenter.index.normal import bounds, normal, vr_of_key
from isocenter.model import Equal, Found, Level, Query, Range

_CHUNK = 64


def find(connection: sa.Connection, query: Query) -> Iterator[Found]:
    """The answers to a query with `sop_classes`, in the order of storing. BadRequest for ranges that are none."""
    instance = schema.instance.c
    known = known_tags(query.level, query.sop_classes)
    asked = [match for match in query.matches if match.tag in known]
    for match in asked:
        if isinstance(match, Range):
            bounds(vr_of_key(match.tag), match.low, match.high)
    wanted = _wanted(query)
    statement = (
        sa.select(instance.uid, instance.transfer_syntax, instance.attributes)
        .where(instance.series_id.is_(None), instance.sop_class.in_(query.sop_classes))
        .order_by(instance.id)
    )
    for match in asked:
        if isinstance(match, Equal) and match.tag == UNIQUE[Level.IMAGE] and not is_universal(match):
            statement = statement.where(instance.uid.in_([normal("UI", uid) for uid in match.values]))
    skip, left = query.offset, query.limit
    if left == 0:
        return
    for uid, syntax, text in connection.execution_options(yield_per=_CHUNK).execute(statement):
        attributes: dict[str, Any] = orjson.loads(text)
        attributes[key(AVAILABLE_TRANSFER_SYNTAX)] = {"vr": "UI", "Value": [syntax]}
        if not all(matches(match, attributes, fuzzy=query.fuzzy) for match in asked):
            continue
        if skip:
            skip -= 1
            continue
        names = sorted(attributes) if wanted is None else [name for name in wanted if name in attributes]
        yield Found("", "", uid, {name: attributes[name] for name in names})
        if left is not None:
            left -= 1
            if not left:
                return


def _wanted(query: Query) -> list[str] | None:
    """The names of the attributes of an answer, None for all that are kept."""
    if query.include is None or not query.bare:
        return None
    tags = {*query.include, *(match.tag for match in query.matches), UNIQUE[Level.IMAGE]}
    return [key(tag) for tag in sorted(tags)]
