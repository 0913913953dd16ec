"""Clean a folder of CSV files into Parquet files, and sum them up: polars, which has threads of its own."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

from prefect import flow, task

from .catalog import not_installed
from .inputs import sales_files

try:
    import polars as pl
except ModuleNotFoundError as missing:
    raise not_installed(missing, __name__) from None


@task
def clean(source: Path, folder: Path) -> Path:
    """One day's sales: trimmed, typed, without doubled receipts, as a Parquet file."""
    sales = pl.read_csv(source, schema_overrides={"price": pl.String})
    euros = pl.col("price").str.strip_suffix(" EUR").str.replace(",", ".", literal=True).cast(pl.Float64)
    cleaned = (
        sales.with_columns(
            pl.col("town").str.strip_chars().str.to_titlecase(),
            pl.col("time").str.to_time("%H:%M:%S"),
            (euros * 100).round().cast(pl.Int64).alias("cents"),
        )
        .filter(pl.col("town") != "")
        .unique("receipt", keep="first", maintain_order=True)
        .with_columns((pl.col("cents") * pl.col("pieces")).alias("revenue"))
        .with_columns(
            pl.col("revenue").rank("ordinal", descending=True).over("town", "article").alias("place"),
            (pl.col("cents") / pl.col("cents").mean().over("article")).alias("to_usual_price"),
        )
        .drop("price")
        .sort("article", "time", "receipt")
    )
    target = folder / f"{source.stem}.parquet"
    cleaned.write_parquet(target, compression="zstd", compression_level=9)
    return target


@task
def revenue_by_town(file: Path) -> dict[str, int]:
    """Cents that each town's shops took in that day."""
    totals = pl.scan_parquet(file).group_by("town").agg(pl.col("revenue").sum()).collect()
    return dict(totals.iter_rows())


def add_up(days: list[dict[str, int]]) -> dict[str, int]:
    """Cents by town, over all days."""
    towns = sorted({town for day in days for town in day})
    return {town: sum(day.get(town, 0) for day in days) for town in towns}


@flow
def csv_etl(files: int = 40, rows: int = 250_000) -> dict[str, int]:
    """`files` files of `rows` rows."""
    with TemporaryDirectory(prefix="parquet-") as folder:
        cleaned = clean.map(sales_files(files, rows), Path(folder))
        return add_up(revenue_by_town.map(cleaned).result())


if __name__ == "__main__":
    print(csv_etl())
