"""`tables/*.parquet`: the frames with their types, and the unit of each column in its metadata."""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from reports.formats.table import FORMATS, File
from reports.frames.units import unit_of

if TYPE_CHECKING:
    import pandas as pd

    from reports.content import Content


def render(content: Content) -> Iterator[File]:
    """Yield a file for each frame."""
    for name, frame in content.frames.items():
        yield f"tables/{name}.parquet", as_parquet(frame)


def as_parquet(frame: pd.DataFrame) -> bytes:
    """Write a frame as Parquet; `pandas.read_parquet` gives it back, types and unknown values included.

    A column that mixes texts with numbers, which Parquet cannot hold, becomes one of texts.
    """
    import pyarrow as pa
    from pyarrow.parquet import write_table

    mixed = {str(name): _texts(column) for name, column in frame.items() if not _has_one_type(column)}
    table = pa.Table.from_pandas(frame.assign(**mixed), preserve_index=False)
    fields = [_with_unit(field) for field in table.schema]
    table = table.cast(pa.schema(fields, metadata=table.schema.metadata))
    file = io.BytesIO()
    write_table(table, file, compression="zstd")
    return file.getvalue()


def _with_unit(field: Any) -> Any:
    """Return a column's field with its unit in the metadata; texts have none."""
    import pyarrow as pa

    unit = (
        "" if pa.types.is_string(field.type) or pa.types.is_large_string(field.type) else unit_of(field.name)
    )
    return field.with_metadata({"unit": unit}) if unit else field


def _has_one_type(column: pd.Series) -> bool:
    import pyarrow as pa

    if column.dtype != object:
        return True
    try:
        pa.array(column, from_pandas=True)
    except pa.ArrowException:
        return False
    return True


def _texts(column: pd.Series) -> pd.Series:
    return column.map(lambda value: value if value is None or value != value else str(value))


FORMATS.add("parquet", render, about="tables/*.parquet: the same with types and units")
