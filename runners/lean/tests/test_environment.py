"""What tasks find of the flow's tags, settings and environment: as with the stock runners of Prefect 3.9.1."""

from __future__ import annotations

import os
from typing import Any

import prefect
import pytest
from packaging.version import Version
from prefect import tags, task
from prefect.settings import PREFECT_TASKS_DEFAULT_RETRIES, temporary_settings

pytestmark = pytest.mark.slow

VARIABLE = "PREFECT_TASKS_DEFAULT_RETRIES"

# The process pools of older ones keep the context of the first submit, and what a task makes of its environment.
STOCK_IS_RIGHT = Version(prefect.__version__) >= Version("3.9.1")


def judged(arm: Any) -> bool:
    return arm.name != "processes-stock" or STOCK_IS_RIGHT


@task
def seen() -> tuple[list[str], int]:
    from prefect.context import TagsContext
    from prefect.settings.context import get_current_settings

    return sorted(TagsContext.get().current_tags), get_current_settings().tasks.default_retries


@task
def variable(name: str) -> str | None:
    import os

    return os.environ.get(name)


@task
def set_variable(name: str, value: str) -> None:
    import os

    os.environ[name] = value


def test_tags_and_settings_changed_after_the_first_submit_reach_later_tasks(pair):
    def body() -> Any:
        with tags("first"), temporary_settings({PREFECT_TASKS_DEFAULT_RETRIES: 1}):
            first = seen.submit()
        with tags("second"), temporary_settings({PREFECT_TASKS_DEFAULT_RETRIES: 2}):
            second = seen.submit()
        third = seen.submit()
        return first.result(), second.result(), third.result()

    for arm in filter(judged, pair):
        assert arm.flow(body)() == ((["first"], 1), (["second"], 2), ([], 0)), arm.name


@pytest.mark.parametrize("pair", ["processes"], indirect=True)
class TestProcesses:
    def test_variable_that_the_flow_sets_is_read_by_its_tasks(self, pair, monkeypatch):
        monkeypatch.delenv("HELD_WORD", raising=False)

        def body() -> Any:
            os.environ["HELD_WORD"] = "hello"
            return [variable.submit("HELD_WORD").result() for _ in range(2)]

        for arm in pair:
            monkeypatch.delenv("HELD_WORD", raising=False)
            assert arm.flow(body)() == ["hello", "hello"], arm.name

    def test_variable_that_is_set_later_comes_with_the_next_settings(self, pair, monkeypatch):
        def body() -> Any:
            before = variable.submit("LATE_WORD").result()
            os.environ["LATE_WORD"] = "hello"
            same = variable.submit("LATE_WORD").result()
            with temporary_settings({PREFECT_TASKS_DEFAULT_RETRIES: 1}):
                other = variable.submit("LATE_WORD").result()
            return before, same, other

        for arm in filter(judged, pair):
            monkeypatch.delenv("LATE_WORD", raising=False)
            assert arm.flow(body, max_workers=1)() == (None, None, "hello"), arm.name

    def test_variable_of_a_task_ends_with_it(self, pair):
        def body() -> Any:
            set_variable.submit("TASKS_WORD", "hello").result()
            return variable.submit("TASKS_WORD").result()

        for arm in filter(judged, pair):
            assert arm.flow(body, max_workers=1)() is None, arm.name

    def test_settings_reach_the_environment_of_their_tasks_alone(self, pair):
        def body() -> Any:
            with temporary_settings({PREFECT_TASKS_DEFAULT_RETRIES: 3}):
                first = variable.submit(VARIABLE).result()
            return first, variable.submit(VARIABLE).result()

        for arm in filter(judged, pair):
            assert arm.flow(body, max_workers=1)() == ("3", None), arm.name

    def test_initializer_prepares_the_environment_of_all_tasks(self, pair):
        if not hasattr(pair[0].make(), "_initializer"):
            pytest.skip("Prefect before 3.8 has no initializer")

        def body() -> Any:
            return [variable.submit("PREPARED_WORD").result() for _ in range(2)]

        more = {"initializer": exec, "initargs": ("import os; os.environ['PREPARED_WORD'] = 'x'",)}
        for arm in pair:
            assert arm.flow(body, max_workers=1, **more)() == ["x", "x"], arm.name

    def test_no_task_is_taken_once_all_were_cancelled(self, pair):
        for arm in pair:
            with arm.make(max_workers=1) as runner:
                runner.cancel_all()
                with pytest.raises(RuntimeError, match="Task runner is not started"):
                    runner.submit(seen, {})
            with runner:
                assert runner.submit(variable, {"name": "NO_SUCH_WORD"}).result() is None

    def test_not_started(self, pair):
        said = []
        for arm in pair:
            with pytest.raises(RuntimeError) as refused:
                arm.make().submit(seen, {})
            said.append(str(refused.value))
        assert said[0] == said[1]


@pytest.mark.parametrize("arm", ["threads-stock", "threads-lean", "processes-lean"], indirect=True)
def test_tasks_that_a_flow_has_not_waited_for_run_all_the_same(arm, tmp_path):
    @task
    def touch(path: Any, after: Any = None) -> None:
        import time

        time.sleep(0.2)
        path.touch()

    def body() -> None:
        after = None
        for number in range(4):
            after = touch.submit(tmp_path / f"{number}", after)

    arm.flow(body, max_workers=2)()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["0", "1", "2", "3"]


@pytest.mark.parametrize("arm", ["processes-lean"], indirect=True)
def test_chain_of_a_flow_needs_one_process(arm):
    @task
    def where(before: Any = None) -> int:
        import os

        return os.getpid()

    def body() -> int:
        links = [where.submit()]
        for _ in range(20):
            links.append(where.submit(links[-1]))
        return len({link.result() for link in links})

    assert arm.flow(body, max_workers=4)() == 1
