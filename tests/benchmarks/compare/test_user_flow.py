"""Flows as users write them: found, imported, their parameters checked, their source read. Nothing is run."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

from runner_lab.benchmarks.compare.user_flow import LoadedFlow, load
from runner_lab.benchmarks.compare.user_module import FlowError

FLOWS = Path(__file__).parents[2] / "user_flows"


@pytest.fixture(autouse=True)
def own_path(monkeypatch):
    """What a load puts on the path is taken off again."""
    monkeypatch.setattr(sys, "path", sys.path[:])
    monkeypatch.setenv("PYTHONPATH", os.environ.get("PYTHONPATH", ""))


def loaded(target: str, scratch: Path, *parameters: str) -> LoadedFlow:
    return load(str(FLOWS / target), parameters, scratch)


def refused(target: str, scratch: Path, *parameters: str) -> str:
    with pytest.raises(FlowError, match=r"^[^\n]+$") as error:
        load(target, parameters, scratch)
    return str(error.value)


@pytest.mark.parametrize(
    ("target", "given", "name", "parameters"),
    [
        ("etl_map.py:etl", ["n=3"], "etl(n=3)", {"n": 3}),
        ("async_fetch.py", [], "crawl", {}),
        ("beside/report.py:report", [], "report", {}),
        ("shop/orders/daily.py:daily", ['items=["a", "bc"]'], 'daily(items=["a", "bc"])', {"items": ["a", "bc"]}),
        ("two_flows.py:two", [], "two", {}),
        ("methods.py:scale.of", ["n=4"], "scale.of(n=4)", {"n": 4}),
        ("methods.py:scale.of", [], "scale.of", {}),
        ("methods.py:Scale.of_unit", [], "Scale.of_unit", {}),
        ("methods.py:Scale.fixed", ["n=4"], "Scale.fixed(n=4)", {"n": 4}),
    ],
)
def test_finds_the_flow(tmp_path, target, given, name, parameters):
    found = loaded(target, tmp_path, *given)

    assert (found.spec.name, found.parameters) == (name, parameters)
    assert found.spec.file == Path(target.partition(":")[0]).name


def test_long_parameters_that_begin_alike_are_others(tmp_path):
    names = {
        loaded(
            "typed.py:typed", tmp_path, 'config={"region": "eu"}', "day=2026-11-23", f"code={'0' * 40}{end}"
        ).spec.name
        for end in "ab"
    }
    assert len(names) == 2


def test_text_that_looks_like_a_number_is_text_where_the_flow_takes_text(tmp_path):
    found = loaded("typed.py:typed", tmp_path, 'config={"region": "eu"}', "day=2026-11-23", "code=007")

    assert found.parameters["code"] == "007"
    found = loaded("typed.py:typed", tmp_path, 'config={"region": "eu"}', "day=2026-11-23", "code=42")
    assert found.parameters["code"] == "42"


@pytest.mark.parametrize(
    ("target", "given", "message"),
    [
        ("absent.py:etl", [], "absent.py: there is no such file; name the flow as FILE.py:FLOW"),
        ("etl_map.py:etk", [], "etl_map.py has no etk; did you mean etl?"),
        ("etl_map.py:load", [], "etl_map.py:load is a task: name a flow; there are etl"),
        ("two_flows.py", [], "two_flows.py: say which: two_flows.py:one or two_flows.py:two"),
        ("two_flows.py:helper", [], "two_flows.py:helper is no flow: it needs @flow above it; there are one, two"),
        ("beside/rates.py", [], "rates.py: there is no flow in it"),
        ("runs_at_import.py", [], "runs_at_import.py:9 starts a flow when the file is imported: put it under if"),
        (
            "runs_in_a_function.py",
            [],
            "runs_in_a_function.py:13 starts a flow when the file is imported: put it under",
        ),
        ("odd_parameters.py:by_place", ["n=1"], "its parameters: "),
        ("methods.py:scale.of", ["self=1"], "--param self: scale.of has no such parameter; it takes n"),
        ("etl_map.py:etl", [], "etl needs n: give it as --param n=VALUE"),
        ("etl_map.py:etl", ["m=3"], "--param m: etl has no such parameter; it takes n, factor"),
        ("etl_map.py:etl", ["n"], "--param n: must be NAME=VALUE, such as n=100"),
        ("etl_map.py:etl", ["n=many"], "--param n=many: Input should be a valid integer"),
        ("two_flows.py:one", ["n=1"], "--param n: one has no such parameter; it takes none"),
    ],
)
def test_refuses_in_one_line(tmp_path, target, given, message):
    assert message in refused(str(FLOWS / target), tmp_path, *given)


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("def broken(:\n", "mine_0.py:1 is not Python: "),
        (
            "\nimport not_there_at_all\n",
            "mine_1.py:2 cannot be imported: ModuleNotFoundError: No module named 'not_the",
        ),
        ("x = 1\nraise RuntimeError('no\\nway')\n", "mine_2.py:2 cannot be imported: RuntimeError: no way"),
        (
            "import httpx\nraise httpx.ConnectError('refused')\n",
            "mine_4.py:2 cannot be imported: ConnectError: refused (where it asks Prefect for a block or a variable",
        ),
        ("import sys\nsys.exit(3)\n", "mine_3.py:2 ends the program when the file is imported: put it under if"),
    ],
)
def test_a_file_that_cannot_be_imported_is_one_line_with_its_place(tmp_path, source, message):
    name = message.partition(":")[0]
    (tmp_path / name).write_text(source)

    assert message in refused(str(tmp_path / name), tmp_path)


def test_a_flow_that_another_file_begins_at_its_import_is_refused_too(tmp_path, monkeypatch):
    (tmp_path / "begins.py").write_text(
        "from prefect import flow\n\n\n@flow\ndef inner():\n    pass\n\n\ndef go():\n    inner()\n"
    )
    (tmp_path / "asks.py").write_text(
        "from begins import go\nfrom prefect import flow\n\n\n@flow\ndef outer():\n    pass\n\n\n"
        "try:\n    go()\nexcept Exception:\n    pass\n"
    )

    assert "asks.py:11 starts a flow when the file is imported" in refused(str(tmp_path / "asks.py"), tmp_path)


def test_a_file_named_like_a_module_that_is_loaded_already_is_loaded_all_the_same(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "flows", ModuleType("flows"))
    taken = sys.modules["flows"]

    found = loaded("flows.py", tmp_path)

    assert found.spec.name == "named_like_the_labs"
    assert sys.modules["flows"] is taken
    assert found.flow.fn.__code__.co_filename == str(FLOWS / "flows.py")


@pytest.mark.parametrize("folder", ["flows", "runners", "reports", "benchmarks", "lab"])
def test_a_package_named_like_a_folder_of_the_labs_is_the_users(tmp_path, folder, monkeypatch):
    # Where pytest runs from the checkout's own folders it knows a package of that name; a command line does not.
    monkeypatch.delitem(sys.modules, folder, raising=False)
    package = tmp_path / folder
    shutil.copytree(FLOWS / "beside", package)
    (package / "__init__.py").touch()
    (package / "report.py").rename(package / "euro_report.py")
    # A script in a package, with its imports beside it: both ways work.
    found = load(str(package / "euro_report.py"), (), tmp_path)

    assert found.spec.name == "report"
    assert found.flow.fn.__module__ == f"{folder}.euro_report"
    for module in (folder, f"{folder}.euro_report"):
        sys.modules.pop(module)


@pytest.mark.slow
def test_another_process_imports_what_this_one_did(tmp_path):
    found = loaded("shop/orders/daily.py", tmp_path, 'items=["a"]')
    alias = loaded("flows.py", tmp_path)
    names = [f"{user.flow.fn.__module__}" for user in (found, alias)]

    code = f"import importlib; print([importlib.import_module(n).__name__ for n in {names!r}])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path)

    assert done.stdout.strip() == str(names), done.stderr


def test_direct_calls_are_named_with_their_places(tmp_path):
    spec = loaded("direct_calls.py:pipeline", tmp_path).spec

    assert sorted(spec.direct_calls) == [
        "direct_calls.py:15 clean",
        "direct_calls.py:15 fetch",
        "direct_calls.py:23 fetch",
    ]
    assert not spec.submits


def test_what_goes_through_the_runner_is_no_direct_call(tmp_path):
    spec = loaded("half_direct.py:half", tmp_path).spec

    assert spec.direct_calls == ("half_direct.py:17 listing",)
    assert spec.submits
    assert loaded("subflows.py:world", tmp_path).spec.direct_calls == ()
    assert loaded("nested.py:nested", tmp_path).spec.direct_calls == ()


@pytest.mark.parametrize(
    ("name", "body", "submits"),
    [
        ("in_a_loop", "for each in (one, two): each.map([1, 2]).result()", True),
        ("in_a_list", "[each.map([1]) for each in (one, two)]", True),
        ("the_builtin", "texts = [1]; print(list(map(str, texts))); one(1)", False),
        ("of_a_class", "names = numbers.map(str); one(1)", False),
    ],
)
def test_a_task_that_has_a_name_in_a_loop_alone_may_be_mapped(tmp_path, name, body, submits):
    lines = ["from prefect import flow, task", "class numbers:", "    map = staticmethod(list)"]
    lines += ["@task", "def one(n): return n", "@task", "def two(n): return n", "@flow", "def loops():", f"    {body}"]
    (tmp_path / f"{name}.py").write_text("\n".join(lines))
    assert loaded(f"{tmp_path / name}.py:loops", tmp_path).spec.submits is submits


def test_a_runner_of_its_own_is_noticed(tmp_path):
    assert loaded("own_runner.py:loud", tmp_path).spec.own_runner == "ThreadPoolTaskRunner"
    assert loaded("etl_map.py:etl", tmp_path, "n=1").spec.own_runner == ""
