"""Features of texts in pure Python: it computes under the GIL, one thread at a time in each process."""

from __future__ import annotations

import math
import re
import zlib
from collections import Counter
from itertools import pairwise
from pathlib import Path

from prefect import flow, task

from .inputs import articles

HASHES = 64
WORD = re.compile(r"\w+")


@task
def features(file: Path) -> dict[str, float]:
    """Of one text: words, vocabulary, entropy, and how alike its halves are by MinHash over their pairs of words."""
    words = WORD.findall(file.read_text(encoding="utf-8").lower())
    counts = Counter(words)
    entropy = -sum(count / len(words) * math.log2(count / len(words)) for count in counts.values())
    half = len(words) // 2
    one, two = signature(words[:half]), signature(words[half:])
    alike = sum(a == b for a, b in zip(one, two, strict=True)) / HASHES
    return {"words": len(words), "vocabulary": len(counts), "entropy": round(entropy, 6), "alike": round(alike, 6)}


def signature(words: list[str]) -> list[int]:
    """MinHash: by each of several hash functions, the least over all pairs of words."""
    pairs = {zlib.crc32(f"{one} {two}".encode()) for one, two in pairwise(words)}
    return [min((pair * (2 * k + 1) + 977 * k) & 0xFFFFFFFF for pair in pairs) for k in range(HASHES)]


def overview(texts: list[dict[str, float]]) -> dict[str, float]:
    """The means of all features."""
    return {name: round(sum(text[name] for text in texts) / len(texts), 6) for name in texts[0]}


@flow
def text_features(texts: int = 80, words: int = 30_000, direct: bool = False) -> dict[str, float]:
    """`texts` texts of `words` words; `direct` calls the task in a loop and submits nothing."""
    files = articles(texts, words)
    return overview([features(file) for file in files] if direct else features.map(files).result())


if __name__ == "__main__":
    print(text_features())
