"""Dask without most of Prefect's cost per task."""

from __future__ import annotations

import operator
import pickle
from collections.abc import Iterable
from typing import Any
from uuid import uuid4

import distributed
from dask._task_spec import Task as GraphTask
from prefect.futures import PrefectFuture
from prefect.tasks import Task
from prefect_dask.task_runners import DaskTaskRunner, PrefectDaskFuture

from . import internals, shipping
from .context import Context, LeanRunner


class LeanDaskTaskRunner(LeanRunner, DaskTaskRunner):
    """`DaskTaskRunner` at a fraction of its cost per task."""

    _stock = ("prefect_dask.task_runners", "DaskTaskRunner")

    def submit(
        self,
        task: Task[Any, Any],
        parameters: dict[str, Any],
        wait_for: Iterable[PrefectFuture[Any]] | None = None,
        dependencies: dict[str, set[Any]] | None = None,
    ) -> PrefectDaskFuture[Any]:
        if not self._started:
            raise RuntimeError("The task runner must be started before submitting work.")
        if internals.MOVED:
            internals.warn_moved()
            return super().submit(task, parameters, wait_for, dependencies)
        task_run_id = uuid4()
        package = self._context.pack(task, task_run_id, parameters, wait_for, dependencies)
        wrapped = self.client.submit(
            # The scheduler unpickles and pickles what it passes on. It gets nothing but bytes and functions that any
            # process can import: neither side falls back from pickle to cloudpickle.
            operator.call,
            GraphTask(None, pickle.loads, shipping.pickled_runner()),
            package.call,
            package.shared,
            *package.upstream,
            # With a key of its own, no argument is tokenized.
            key=f"{task.name}-{task_run_id}",
            pure=False,
        )
        return PrefectDaskFuture(task_run_id=task_run_id, wrapped_future=wrapped)

    def __enter__(self) -> LeanDaskTaskRunner:
        super().__enter__()
        self._context = Context(future_type=distributed.Future)
        return self

    def _settings(self) -> dict[str, Any]:
        return {
            "address": self.address,
            "cluster_class": self.cluster_class,
            "cluster_kwargs": self.cluster_kwargs,
            "adapt_kwargs": self.adapt_kwargs,
            "client_kwargs": self.client_kwargs,
            "performance_report_path": self.performance_report_path,
        }
