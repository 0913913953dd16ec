"""Make thumbnails of photos in three sizes: Pillow computes in C, and releases the GIL meanwhile."""

from __future__ import annotations

import zlib
from pathlib import Path
from tempfile import TemporaryDirectory

from prefect import flow, task

from .catalog import not_installed
from .inputs import photos

try:
    from PIL import Image, ImageFilter, ImageOps
except ModuleNotFoundError as missing:
    raise not_installed(missing, __name__) from None

SIZES = (1024, 512, 128)


@task
def make_thumbnails(photo: Path, folder: Path) -> list[Path]:
    """One photo in every size, upright and sharpened, as JPEG files."""
    made = []
    with Image.open(photo) as opened:
        image = ImageOps.exif_transpose(opened).convert("RGB")
    for size in SIZES:
        small = ImageOps.contain(image, (size, size), Image.Resampling.LANCZOS)
        small = small.filter(ImageFilter.UnsharpMask(radius=2, percent=80))
        made.append(folder / f"{photo.stem}-{size}.jpg")
        small.save(made[-1], quality=85, optimize=True)
    return made


@task
def contact_sheet(thumbnails: list[list[Path]]) -> dict[str, int]:
    """The smallest of all photos side by side; its checksum, and how many files there are."""
    edge = min(SIZES)
    sheet = Image.new("RGB", (edge * len(thumbnails), edge))
    for place, files in enumerate(thumbnails):
        with Image.open(files[-1]) as thumbnail:
            sheet.paste(thumbnail, (edge * place, 0))
    return {"files": sum(map(len, thumbnails)), "sheet": zlib.crc32(sheet.tobytes())}


@flow
def thumbnails(count: int = 80, width: int = 2700) -> dict[str, int]:
    """`count` photos, `width` pixels wide."""
    with TemporaryDirectory(prefix="thumbnails-") as folder:
        made = make_thumbnails.map(photos(count, width), Path(folder)).result()
        return contact_sheet.submit(made).result()


if __name__ == "__main__":
    print(thumbnails())
