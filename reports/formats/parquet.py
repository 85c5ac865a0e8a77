"""`tables/*.parquet`: the frames with their types, and the unit of each column in its metadata."""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from reports.formats.table import FORMATS, File
from reports.frames.columns import about, unit_in

if TYPE_CHECKING:
    import pandas as pd

    from reports.content import Content


def render(content: Content) -> Iterator[File]:
    """Yield a file for each frame."""
    for name, frame in content.frames.items():
        yield f"tables/{name}.parquet", as_parquet(frame, name)


def as_parquet(frame: pd.DataFrame, table: str = "") -> bytes:
    """Write a frame as Parquet; `pandas.read_parquet` gives it back, types and unknown values included.

    The metadata of a column has its unit and what it is, by the name of the `table`. Integers among unknown
    values come back as `Int64`, which has room for both. A column that Parquet cannot hold, of texts among
    numbers or of integers beyond 64 bits, becomes one of texts.
    """
    import pyarrow as pa
    from pyarrow.parquet import write_table

    typed = {str(name): _typed(column) for name, column in frame.items() if column.dtype == object}
    written = pa.Table.from_pandas(frame.assign(**typed), preserve_index=False)
    fields = [_described(field, table) for field in written.schema]
    written = written.cast(pa.schema(fields, metadata=written.schema.metadata))
    file = io.BytesIO()
    write_table(written, file, compression="zstd")
    return file.getvalue()


def _described(field: Any, table: str) -> Any:
    """Return a column's field with its unit and what it is in the metadata; texts have no unit."""
    import pyarrow as pa

    is_text = pa.types.is_string(field.type) or pa.types.is_large_string(field.type)
    found = {"unit": "" if is_text else unit_in(table, field.name), "about": about(table, field.name)}
    known = {name: text for name, text in found.items() if text}
    return field.with_metadata(known) if known else field


def _typed(column: pd.Series) -> pd.Series:
    """Return a column of objects as Parquet can hold it without a loss."""
    import pyarrow as pa

    try:
        kind = pa.array(column, from_pandas=True).type
    except (pa.ArrowException, OverflowError, UnicodeError, TypeError):
        return column.map(_as_text)
    return column.astype("Int64") if pa.types.is_integer(kind) else column


def _as_text(value: Any) -> Any:
    import pandas as pd

    unknown = value is None or value is pd.NA or (isinstance(value, float) and value != value)
    return value if unknown else str(value).encode(errors="backslashreplace").decode()


FORMATS.add(
    "parquet",
    render,
    about="tables/*.parquet: the same with types and units",
    draws=False,
    raw=True,
    owns=("tables/*.parquet",),
)
