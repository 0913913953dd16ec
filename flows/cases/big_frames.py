"""Hand large frames from task to task: what one returns and the next is given is 50 MB."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

from prefect import flow, task

from .catalog import not_installed
from .inputs import readings

try:
    import polars as pl
except ModuleNotFoundError as missing:
    raise not_installed(missing, __name__) from None

MEASURES = ("pressure", "temperature", "flow")


@task
def read(file: Path) -> pl.DataFrame:
    """One file's readings, by sensor and time."""
    return pl.read_ipc(file, memory_map=False).sort("sensor", "second")


@task
def smooth(frame: pl.DataFrame) -> pl.DataFrame:
    """Each reading replaced by the median of 201 of its sensor."""
    return frame.with_columns(pl.col(name).rolling_median(201, min_samples=1).over("sensor") for name in MEASURES)


@task
def summarise(frame: pl.DataFrame) -> dict[str, float]:
    """Rows, and the spread of each measure between sensors."""
    spread = frame.group_by("sensor").agg(pl.col(name).mean() for name in MEASURES).sort("sensor")
    return {"rows": frame.height, **{name: float(spread[name].std()) for name in MEASURES}}  # type: ignore[arg-type]


@task
def read_into(file: Path, folder: Path) -> Path:
    """As `read`, into a file whose name goes on instead of the frame."""
    return _written(read.fn(file), folder / f"{file.stem}.read")


@task
def smooth_file(file: Path) -> Path:
    """As `smooth`, from file to file."""
    return _written(smooth.fn(pl.read_ipc(file)), file.with_suffix(".smooth"))


@task
def summarise_file(file: Path) -> dict[str, float]:
    """As `summarise`, of a file."""
    return summarise.fn(pl.read_ipc(file))


def _written(frame: pl.DataFrame, file: Path) -> Path:
    frame.write_ipc(file)
    return file


@flow
def big_frames(parts: int = 16, megabytes: float = 50, by_file: bool = False) -> dict[str, float]:
    """`parts` frames of so many megabytes each; `by_file` hands on the names of files and not the frames."""
    if by_file:
        with TemporaryDirectory(prefix="frames-") as folder:
            read_files = read_into.map(readings(parts, megabytes), Path(folder))
            summaries = summarise_file.map(smooth_file.map(read_files)).result()
    else:
        summaries = summarise.map(smooth.map(read.map(readings(parts, megabytes)))).result()
    return {name: round(sum(part[name] for part in summaries), 9) for name in summaries[0]}


if __name__ == "__main__":
    print(big_frames())
