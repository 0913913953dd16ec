"""The arms there are, and what `runners.toml` may declare; every refusal is one line that names the arm and the key."""

from __future__ import annotations

import socket
import textwrap
from dataclasses import replace
from importlib import import_module
from pathlib import Path

import pytest

from runner_lab.records.record import BASELINE, CONTROL
from runner_lab.runners import catalog
from runner_lab.runners.catalog import ConfigError
from runner_lab.runners.engine import Cluster
from runner_lab.runners.spec import ArmError

USERS_MODULE = """
from prefect.task_runners import ThreadPoolTaskRunner, TaskRunner

class MyThreads(ThreadPoolTaskRunner):
    pass

class Foreign(TaskRunner):
    def duplicate(self): ...
    def submit(self, *args, **kwargs): ...
    def map(self, *args, **kwargs): ...

not_a_class = 1
"""


@pytest.fixture
def declare(tmp_path: Path):
    """Load a catalog from the text of a `runners.toml`."""

    def load(text: str) -> catalog.Catalog:
        path = tmp_path / "runners.toml"
        path.write_text(textwrap.dedent(text))
        return catalog.load(path)

    return load


@pytest.fixture
def users_module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    name = f"users_{tmp_path.name}".replace("-", "_")
    (tmp_path / f"{name}.py").write_text(USERS_MODULE)
    monkeypatch.syspath_prepend(tmp_path)
    return name


def test_has_an_arm_for_every_runner_and_bare_engine(arms):
    stock = {spec.name for spec in arms.arms.values() if not spec.lean}

    assert stock == {
        *("sequential", "gather", "threads", "processes", "dask", "ray", "bare-threads", "bare-dask", "bare-ray"),
        CONTROL,
    }


def test_every_runner_has_a_lean_arm_on_the_same_cluster_with_the_same_options(arms):
    lean = {name: spec for name, spec in arms.arms.items() if spec.lean}

    assert lean.keys() == {"lean-threads", "lean-processes", "lean-dask", "lean-ray"}
    for name, spec in lean.items():
        stock = arms.arms[name.removeprefix("lean-")]
        engine = arms.engine(stock)
        cluster = Cluster("tcp://127.0.0.1:1") if engine.shares_cluster else None
        assert spec.engine == stock.engine
        assert engine.shares(spec) == engine.shares(stock)
        assert engine.options(spec, cluster) == engine.options(stock, cluster)
        arms.check(spec)


def test_control_is_the_baseline_under_another_name(arms):
    baseline, control = arms.arms[BASELINE], arms.arms[CONTROL]

    assert (control.engine, control.class_path, control.options) == (
        baseline.engine,
        baseline.class_path,
        baseline.options,
    )


def test_selected_arms_have_the_same_workers_and_keep_their_order(arms):
    chosen = arms.select(["dask", "threads", "bare-ray", "sequential", "gather"], workers=5)

    assert [(spec.name, spec.workers) for spec in chosen] == [
        *(("dask", 5), ("threads", 5), ("bare-ray", 5)),
        *(("sequential", 1), ("gather", 1)),
    ]


def test_arms_that_nobody_has_given_slots_get_what_suits_them(arms):
    chosen = arms.select(["threads", "lean-threads", "processes", "dask", "ray", "sequential"], None, cores=6)

    # Prefect's threads have no limit, which 0 stands for.
    assert {spec.name: spec.workers for spec in chosen} == {
        **{"threads": 0, "lean-threads": chosen[1].workers, "processes": 6, "dask": 6, "ray": 6, "sequential": 1}
    }
    assert arms.traits(chosen[0]).slots == "no limit"
    assert [spec.workers for spec in arms.select(["processes", "dask"], None, cores=1)] == [2, 2]
    lean, options = chosen[1], arms.engine(chosen[1]).options(chosen[1], None)
    assert (lean.workers == 0) == ("max_workers" not in options)


def test_slots_that_are_asked_for_are_everybodys_but_yours(arms):
    from prefect.task_runners import ThreadPoolTaskRunner

    found = arms.with_yours(ThreadPoolTaskRunner(max_workers=7))
    chosen = found.select(["yours", "control", "threads", "dask"], workers=3)

    assert [(spec.name, spec.workers) for spec in chosen] == [("yours", 7), ("control", 7), ("threads", 3), ("dask", 3)]


def test_a_name_may_say_how_many_slots(arms):
    names = ["threads", "threads@32", "lean-dask@4"]

    chosen = arms.resized(names).select(names, workers=3)

    assert [(spec.name, spec.workers) for spec in chosen] == [("threads", 3), ("threads@32", 32), ("lean-dask@4", 4)]
    assert chosen[1].class_path == arms.arms["threads"].class_path
    for name, message in [
        ("sequential@2", "arm 'sequential@2': sequential has no slots to set: name sequential"),
        ("threads@0", "arm 'threads@0': at least 1 slot is needed"),
    ]:
        with pytest.raises(ArmError, match=message):
            arms.resized([name])
    with pytest.raises(ArmError, match="arm 'thread@2': there is no such arm"):
        arms.resized(["thread@2"]).select(["thread@2"], workers=2)


@pytest.mark.parametrize(
    ("path", "options", "engine", "workers", "slots"),
    [
        ("prefect.task_runners.ThreadPoolTaskRunner", {}, "threads", 0, "no limit"),
        ("prefect.task_runners.ThreadPoolTaskRunner", {"max_workers": 4}, "threads", 4, "counted"),
        ("prefect.task_runners.ProcessPoolTaskRunner", {"max_workers": 3}, "processes", 3, "counted"),
        ("prefect_dask.DaskTaskRunner", {}, "dask", 0, "unknown"),
        (
            "prefect_dask.DaskTaskRunner",
            {"cluster_kwargs": {"n_workers": 2, "threads_per_worker": 3}},
            "dask",
            6,
            "counted",
        ),
        ("prefect_dask.DaskTaskRunner", {"address": "tcp://127.0.0.1:1"}, "dask", 0, "unknown"),
        ("prefect_ray.RayTaskRunner", {"init_kwargs": {"num_cpus": 2}}, "ray", 2, "counted"),
        ("prefect_lean.LeanDaskTaskRunner", {}, "dask", 0, "unknown"),
    ],
)
def test_the_runner_that_a_flow_declares_is_an_arm_and_the_control(arms, path, options, engine, workers, slots):
    module, _, name = path.rpartition(".")
    found = arms.with_yours(getattr(import_module(module), name)(**options))
    yours, control = found.arms["yours"], found.arms["control"]

    assert (yours.engine, yours.workers, yours.as_declared) == (engine, workers, True)
    assert yours.class_path.endswith(f".{name}")
    assert found.traits(yours).slots == slots
    assert replace(control, name="yours", summary=yours.summary) == yours
    assert not found.engine(yours).shares(yours)
    assert found.engine(yours).attached(yours, found.settings(yours)) == options.get("address")
    found.check(yours)


def test_an_arm_that_is_not_there_is_refused_with_those_that_are(arms):
    with pytest.raises(ArmError, match=r"arm 'thread': there is no such arm; there are sequential, gather,"):
        arms.select(["thread"], workers=2)


def test_a_declared_arm_comes_after_the_labs_own(declare, users_module):
    found = declare(
        f"""
        [arms.mine]
        class = "{users_module}.MyThreads"
        options = {{ max_workers = 7 }}
        summary = "my own"
        """
    )
    spec = found.arms["mine"]

    assert list(found.arms)[-1] == "mine"
    assert (spec.engine, spec.class_path, spec.options, spec.summary) == (
        "threads",
        f"{users_module}.MyThreads",
        {"max_workers": 7},
        "my own",
    )
    found.check(spec)


def test_a_declared_arms_options_go_before_the_labs(declare, users_module, tmp_path):
    found = declare(f'[arms.mine]\nclass = "{users_module}.MyThreads"\noptions.max_workers = 7')
    (spec,) = found.select(["mine"], workers=2)

    assert found.engine(spec).task_runner(spec, None, tmp_path)._max_workers == 7


def test_workers_reach_a_declared_arm_without_options(declare, users_module, tmp_path):
    found = declare(f'[arms.mine]\nclass = "{users_module}.MyThreads"')
    (spec,) = found.select(["mine"], workers=3)

    assert found.engine(spec).task_runner(spec, None, tmp_path)._max_workers == 3


def test_a_class_of_no_known_engine_has_none_and_still_its_workers(declare, users_module):
    found = declare(f'[arms.mine]\nclass = "{users_module}.Foreign"')
    (spec,) = found.select(["mine"], workers=3)

    assert (spec.engine, spec.direct, spec.workers) == ("none", False, 3)
    found.check(spec)


def test_clusters_are_declared_by_engine(declare):
    found = declare(
        """
        dask.address = "tcp://127.0.0.1:8786"
        dask.timeout_s = 2
        [ray]
        address = "ray://127.0.0.1:10001"
        """
    )

    assert found.settings(found.arms["bare-dask"]).address == "tcp://127.0.0.1:8786"
    assert found.settings(found.arms["dask"]).timeout_s == 2
    assert found.settings(found.arms["ray"]).address == "ray://127.0.0.1:10001"
    assert found.settings(found.arms["threads"]).address is None
    assert "tcp://127.0.0.1:8786" in found.engine(found.arms["dask"]).where(
        found.arms["dask"], found.settings(found.arms["dask"])
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('[arms.x]\nclass = "a.B"\nclas = 1', "arm 'x': unknown key 'clas'; known are class, engine, lean"),
        ("[arms.x]", "arm 'x': class: a dotted path is needed"),
        ("[arms.x]\nclass = 3", "arm 'x': class: a dotted path is needed"),
        ('[arms.x]\nclass = "Runner"', "arm 'x': class: a dotted path is needed"),
        ('[arms.x]\nclass = "a.B"\noptions = 3', "arm 'x': options: must be a table"),
        ('[arms.x]\nclass = "a.B"\nengine = "spark"', "arm 'x': engine: 'spark' is not one of none, asyncio, threads"),
        ('[arms.x]\nclass = "a.B"\nengine = "none"\nlean = "yes"', "arm 'x': lean: must be true or false"),
        ('[arms.x]\nclass = "a.B"\nengine = "none"\nsummary = 3', "arm 'x': summary: must be text"),
        ('[arms]\nx = "a.B"', "arm 'x': must be a table"),
        ('[arms.threads]\nclass = "a.B"', "arm 'threads': is the lab's own"),
        ('[arms.control]\nclass = "a.B"', "arm 'control': is the lab's own"),
        ('[arms."a,b"]\nclass = "a.B"', "arm 'a,b': a name must not be empty or hold a comma"),
        ('[arms."a@4"]\nclass = "a.B"', "arm 'a@4': a name must not end in @ and a number"),
        ('[arms.x]\nclass = "no_such_module.B"', "arm 'x': class: 'no_such_module.B' cannot be imported"),
        ('[arms.x]\nclass = "..B"', "arm 'x': class: '..B' cannot be imported"),
    ],
)
def test_refuses_a_declaration_and_names_arm_and_key(declare, text, message):
    with pytest.raises(ArmError, match=r"^[^\n]+$") as refused:
        declare(text)
    assert str(refused.value).startswith(message)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("arms = 3", "arms: must hold tables"),
        ("colour = 3", "unknown key 'colour'; known are arms, dask and ray"),
        ("threads.address = 'x'", "unknown key 'threads'; known are arms, dask and ray"),
        ("dask = 3", "dask: must be a table, such as dask.address"),
        ("dask.adress = 'x'", "dask.adress: unknown key; known are address, cluster_class"),
        ("dask.address = 3", "dask.address: must be text"),
        ("dask.address = ''", "dask.address: must not be empty"),
        ("dask.cluster_class = 3", "dask.cluster_class: must be text"),
        ("dask.cluster_kwargs = 3", "dask.cluster_kwargs: must be a table"),
        ("dask.timeout_s = 'long'", "dask.timeout_s: must be a number of seconds"),
        ("dask.timeout_s = true", "dask.timeout_s: must be a number of seconds"),
        ("dask.timeout_s = 0", "dask.timeout_s: must be more than 0 seconds"),
        ("dask.timeout_s = nan", "dask.timeout_s: must be more than 0 seconds"),
        ("ray.cluster_class = 'a.B'", "ray.cluster_class: only dask takes one"),
        ("dask = { address = 'tcp://h:1', cluster_class = 'a.B' }", "dask.address and dask.cluster_class: give one"),
        ("dask.cluster_kwargs = { n_workers = 4 }", "dask.cluster_kwargs: they are for dask.cluster_class, which is"),
        ("dask = { address = 'tcp://h:1', cluster_kwargs = {} }", "dask.cluster_kwargs: they are for dask.cluster_cl"),
    ],
)
def test_refuses_a_key_and_names_it(declare, text, message):
    with pytest.raises(ConfigError, match=r"^[^\n]+$") as refused:
        declare(text)
    assert str(refused.value).startswith(message)


def test_refuses_what_is_not_toml(declare, tmp_path):
    with pytest.raises(ConfigError, match=r"runners\.toml is not TOML: [^\n]+$"):
        declare("[arms")

    (tmp_path / "binary.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(ConfigError, match=r"binary\.toml is not TOML"):
        catalog.load(tmp_path / "binary.toml")


def test_refuses_a_file_it_cannot_read(tmp_path):
    with pytest.raises(ConfigError, match=r"cannot read .*absent\.toml: No such file or directory"):
        catalog.load(tmp_path / "absent.toml")
    with pytest.raises(ConfigError, match=r"cannot read .*: Is a directory"):
        catalog.load(tmp_path)


@pytest.mark.parametrize(
    ("declared", "message"),
    [
        ('class = "{module}.Absent"', "arm 'mine': class: '{module}.Absent' cannot be imported (module"),
        ('class = "{module}.not_a_class"', "arm 'mine': class: '{module}.not_a_class' is not a subclass of"),
        ('class = "pathlib.Path"', "arm 'mine': class: 'pathlib.Path' is not a subclass of prefect.task_runners"),
        ('class = "{module}.MyThreads"\noptions.colour = 1', "arm 'mine': options: {module}.MyThreads got an"),
    ],
)
def test_check_refuses_a_class_or_option_that_cannot_be_used(declare, users_module, declared, message):
    # With the engine given, the class is looked for by the check and not at load.
    found = declare(f'[arms.mine]\nengine = "threads"\n{declared.format(module=users_module)}')

    with pytest.raises(ArmError, match=r"^[^\n]+$") as refused:
        found.check(found.arms["mine"])
    assert str(refused.value).startswith(message.format(module=users_module))


@pytest.mark.parametrize("broken", ["def (", "1 / 0", "raise SystemError('two\\nlines')"])
def test_a_users_module_that_breaks_at_import_is_one_line(declare, tmp_path, monkeypatch, broken):
    (tmp_path / "broken_runner.py").write_text(broken)
    monkeypatch.syspath_prepend(tmp_path)

    with pytest.raises(ArmError, match=r"^arm 'mine': class: 'broken_runner.R' cannot be imported \([^\n]+\)$"):
        declare('[arms.mine]\nclass = "broken_runner.R"')


@pytest.mark.parametrize("address", ["nonsense", "tcp://", "tcp://host", "tcp://host:port", "host:99999999"])
def test_check_refuses_what_is_no_address(declare, address):
    found = declare(f'dask.address = "{address}"')

    with pytest.raises(ArmError, match=r"^arm 'bare-dask': dask.address: '[^\n]+' is no address; it looks like tcp://"):
        found.check(found.arms["bare-dask"])


def test_check_refuses_an_address_that_does_not_answer(declare):
    with socket.socket() as bound_but_deaf:
        bound_but_deaf.bind(("127.0.0.1", 0))
        port = bound_but_deaf.getsockname()[1]
        found = declare(f'dask.address = "tcp://127.0.0.1:{port}"\ndask.timeout_s = 1')

        # The bare arm has no class to import first.
        with pytest.raises(ArmError, match=rf"^arm 'bare-dask': dask.address: tcp://127.0.0.1:{port} does not answer"):
            found.check(found.arms["bare-dask"])


def test_an_arm_with_a_place_of_its_own_is_not_on_the_shared_cluster(declare):
    found = declare(
        """
        [arms.far-dask]
        class = "prefect_dask.DaskTaskRunner"
        engine = "dask"
        options.address = "tcp://127.0.0.1:1"
        [arms.far-ray]
        class = "prefect_ray.RayTaskRunner"
        engine = "ray"
        options.address = "ray://127.0.0.1:1"
        [arms.tuned-dask]
        class = "prefect_dask.DaskTaskRunner"
        engine = "dask"
        options.performance_report_path = "x.html"
        """
    )
    shared = {name: found.engine(found.arms[name]).shares(found.arms[name]) for name in ("dask", "ray", *found.arms)}

    assert not shared["far-dask"]
    assert not shared["far-ray"]
    assert shared["tuned-dask"]
    assert shared["dask"]
    assert shared["ray"]
    far = found.arms["far-dask"]
    assert found.engine(far).where(far, found.settings(far)) == "address tcp://127.0.0.1:1"
    with pytest.raises(ArmError, match=r"^arm 'far-ray': options.address: ray://127.0.0.1:1 does not answer within"):
        found.check(found.arms["far-ray"])
