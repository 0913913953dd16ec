"""Search a grid of models by cross-validation: scikit-learn, which trains each with threads of its own on all cores."""

from __future__ import annotations

from itertools import product
from typing import Any

from prefect import flow, task, unmapped

from .catalog import not_installed

try:
    from sklearn.datasets import make_classification
    from sklearn.ensemble import RandomForestClassifier
    from sklearn.model_selection import cross_val_score
except ModuleNotFoundError as missing:
    raise not_installed(missing, __name__) from None

GRID = {
    "max_depth": (6, 10, 14),
    "max_features": (3, 5),
    "min_samples_leaf": (1, 5),
    "criterion": ("gini", "entropy"),
}


@task
def score(settings: dict[str, Any], samples: Any, classes: Any, trees: int, n_jobs: int) -> float:
    """Mean accuracy of a model with these settings, over three folds."""
    model = RandomForestClassifier(trees, **settings, n_jobs=n_jobs, random_state=0)
    return float(cross_val_score(model, samples, classes, cv=3).mean())


@flow
def model_grid(samples: int = 5000, trees: int = 30, n_jobs: int = -1) -> dict[str, Any]:
    """The best of 24 models on `samples` samples, each of `trees` trees and `n_jobs` threads, -1 for all cores."""
    features, classes = make_classification(samples, n_features=20, n_informative=8, flip_y=0.05, random_state=0)
    grid = [dict(zip(GRID, values, strict=True)) for values in product(*GRID.values())]
    scores = score.map(grid, unmapped(features), unmapped(classes), trees, n_jobs).result()
    best = max(range(len(grid)), key=scores.__getitem__)
    return {"models": len(grid), "best": grid[best], "accuracy": round(scores[best], 9)}


if __name__ == "__main__":
    print(model_grid())
