"""Statements written in SQLAlchemy and run by the driver itself.

An ORM-less execution through SQLAlchemy costs some 20 us a statement; a stored object needs half a dozen of them.
So the text is made once, by SQLAlchemy, for the engine's dialect, and handed to the driver's cursor.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.sql.expression import Executable


class Statement:
    """A compiled statement with its parameters' order; for drivers with positional parameters."""

    __slots__ = ("_fixed", "_order", "text")

    def __init__(self, statement: Executable, dialect: sa.Dialect) -> None:
        compiled = statement.compile(dialect=dialect)  # type: ignore[attr-defined]
        self.text: str = str(compiled)
        self._order: tuple[str, ...] = tuple(compiled.positiontup or ())
        # Parameters SQLAlchemy made itself, such as those of LIMIT.
        self._fixed = {name: value for name, value in compiled.params.items() if value is not None}

    def run(self, cursor: Any, **values: Any) -> Any:
        """Execute on a driver's cursor, which is returned."""
        values.update(self._fixed)
        return cursor.execute(self.text, [values[name] for name in self._order])

    def ordered(self, names: Sequence[str]) -> str:
        """The text, for parameters in the order of `names`, which must be its own."""
        if tuple(names) != self._order:
            raise ValueError("the statement has its parameters in another order")
        return self.text

    def run_many(self, cursor: Any, rows: Sequence[Mapping[str, Any]]) -> int:
        """Execute once for each of `rows`; how many rows were changed in all."""
        if not rows:
            return 0
        fixed, order = self._fixed, self._order
        return int(cursor.executemany(self.text, [[{**row, **fixed}[name] for name in order] for row in rows]).rowcount)


class Rows:
    """An INSERT of one to `most` rows of `columns`."""

    __slots__ = ("_texts",)

    def __init__(self, table: sa.Table, columns: Sequence[str], most: int, dialect: sa.Dialect) -> None:
        self._texts = [
            Statement(
                sa.insert(table).values(
                    [{column: sa.bindparam(f"{column}_{row}") for column in columns} for row in range(count)]
                ),
                dialect,
            ).ordered([f"{column}_{row}" for row in range(count) for column in columns])
            for count in range(1, most + 1)
        ]

    def insert(self, cursor: Any, rows: Sequence[Sequence[Any]]) -> None:
        """Execute on a driver's cursor; each row has its values in the order of the columns."""
        cursor.execute(self._texts[len(rows) - 1], [value for row in rows for value in row])


def driver_rows(connection: sa.Connection, statement: Executable, most: int) -> Iterator[Sequence[Any]]:
    """The rows of a statement as the driver gives them, for columns that need no conversion: the first one, then ever
    more at a time, up to `most`."""
    result: sa.CursorResult[Any] = connection.execute(statement)  # which compiles it once for all like it
    cursor, size = result.cursor, 1
    assert cursor is not None
    try:
        while rows := cursor.fetchmany(size):
            yield rows
            size = min(size * 8, most)
    finally:
        result.close()
