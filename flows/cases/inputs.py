"""The files that real flows read: made once, the same every time, kept in a cache folder.

`~/.cache/runner-lab/cases`, or where RUNNER_LAB_CASES says. It can be removed at any time.
"""

from __future__ import annotations

import os
import random
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

FOLDER = "RUNNER_LAB_CASES"
"""Environment variable: the cache folder."""


def prepared(name: str, make: Callable[[Path], None]) -> Path:
    """The folder `name` of the cache, with what `make` put in it.

    Args:
        name: says all that the content depends on.
        make: fills the folder that it is given; called where the cache has none of that name.
    """
    usual = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "runner-lab" / "cases"
    cache = Path(os.environ.get(FOLDER) or usual)
    folder = cache / name
    if folder.is_dir():
        return folder
    cache.mkdir(parents=True, exist_ok=True)
    part = Path(tempfile.mkdtemp(prefix=f"{name}-", suffix=".part", dir=cache))
    try:
        make(part)
        part.rename(folder)
    except OSError:
        # Another process may have made it meanwhile.
        if not folder.is_dir():
            raise
    finally:
        shutil.rmtree(part, ignore_errors=True)
    return folder


def sales_files(files: int, rows: int) -> list[Path]:
    """CSV files of shops' sales, one a day, with the faults of such files: spaces, missing and doubled rows."""
    return sorted(prepared(f"sales-{files}x{rows}", lambda folder: _write_sales(folder, files, rows)).glob("*.csv"))


def _write_sales(folder: Path, files: int, rows: int) -> None:
    import numpy as np
    import polars as pl

    towns = np.array(["Aachen", " Bremen", "cologne ", "Dresden", "ESSEN", "Freiburg", ""])
    for day in range(files):
        draw = np.random.default_rng(day)
        second = np.sort(draw.integers(0, 86_400, rows))
        frame = pl.DataFrame(
            {
                "receipt": draw.integers(0, rows, rows),
                "time": [f"{at // 3600:02d}:{at // 60 % 60:02d}:{at % 60:02d}" for at in second.tolist()],
                "town": draw.choice(towns, rows),
                "article": [f"A-{number:05d}" for number in draw.integers(0, 2000, rows).tolist()],
                "pieces": draw.integers(1, 9, rows),
                "price": [f"{cents // 100},{cents % 100:02d} EUR" for cents in draw.integers(99, 9999, rows).tolist()],
            }
        )
        frame.write_csv(folder / f"sales-{day:04d}.csv")


def photos(count: int, width: int) -> list[Path]:
    """JPEG files of `width` times two thirds of it pixels."""
    return sorted(prepared(f"photos-{count}x{width}", lambda folder: _write_photos(folder, count, width)).glob("*.jpg"))


def _write_photos(folder: Path, count: int, width: int) -> None:
    import numpy as np
    from PIL import Image

    height = width * 2 // 3
    across, down = np.linspace(0, 1, width), np.linspace(0, 1, height)[:, None]
    for number in range(count):
        draw = np.random.default_rng(number)
        grain = draw.integers(0, 24, (height, width), dtype=np.uint8)
        pixels = np.empty((height, width, 3), np.uint8)
        for colour, (a, b) in enumerate(draw.uniform(3, 40, (3, 2))):
            waves = (np.sin(a * across) * 50 + 58).astype(np.uint8) + (np.sin(b * down) * 50 + 58).astype(np.uint8)
            pixels[..., colour] = waves + grain
        Image.fromarray(pixels).save(folder / f"photo-{number:04d}.jpg", quality=88)


def articles(count: int, words: int) -> list[Path]:
    """Text files of some `words` words each, drawn as in a language: a few very often, most of them seldom."""
    return sorted(
        prepared(f"articles-{count}x{words}", lambda folder: _write_articles(folder, count, words)).glob("*.txt")
    )


def _write_articles(folder: Path, count: int, words: int) -> None:
    draw = random.Random(0)
    syllables = [a + b for a in "bdfgklmnprstvw" for b in ("a", "e", "i", "o", "u", "an", "er", "in")]
    vocabulary = ["".join(draw.choices(syllables, k=draw.randint(1, 4))) for _ in range(8000)]
    often = [1 / (rank + 2.7) for rank in range(len(vocabulary))]
    for number in range(count):
        drawn = random.Random(number).choices(vocabulary, often, k=words)
        sentences = [" ".join(drawn[start : start + 14]).capitalize() for start in range(0, words, 14)]
        (folder / f"article-{number:04d}.txt").write_text(".\n".join(sentences), encoding="utf-8")


def readings(parts: int, megabytes: float) -> list[Path]:
    """Arrow files of sensors' readings; each is `megabytes` in memory."""
    rows = int(megabytes * 1e6 / 40)
    return sorted(
        prepared(f"readings-{parts}x{rows}", lambda folder: _write_readings(folder, parts, rows)).glob("*.arrow")
    )


def _write_readings(folder: Path, parts: int, rows: int) -> None:
    import numpy as np
    import polars as pl

    for part in range(parts):
        draw = np.random.default_rng(part)
        columns = {name: draw.normal(size=rows) for name in ("pressure", "temperature", "flow")}
        frame = pl.DataFrame({"sensor": draw.integers(0, 5000, rows), "second": np.arange(rows), **columns})
        frame.write_ipc(folder / f"readings-{part:04d}.arrow")
