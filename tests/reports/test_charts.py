"""Charts: one look an arm, the same bytes each time, no web address, a sentence in place of an empty axis."""

from __future__ import annotations

import itertools
import re
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from xml.etree import ElementTree

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image

from runner_lab import reports
from runner_lab.records.record import Phases
from runner_lab.reports import charts
from runner_lab.reports.analysis.run import Arm
from runner_lab.reports.analysis.summary import summarise
from runner_lab.reports.charts import decision, memory, phases, style, svg
from runner_lab.reports.charts.style import Missing
from runner_lab.reports.choose.atlas import Map
from tests.reports import synthetic
from tests.reports.conftest import SCRIPT, RenderedRun

EXPECTED = {
    "makespan-by-width",
    "where-time-goes",
    "where-a-task-goes",
    "paired-ratios",
    "latency-distributions",
    "variants",
    "makespan-by-payload",
    "cpu-against-wait",
    "memory-against-makespan",
    "prefect-over-bare",
    "decision-map",
    "efficiency-by-duration",
    "predicted-against-measured",
    "speedup-by-batch",
    "speedup-by-workers",
}


def arm(name: str, engine: str = "threads", bare: bool = False, lean: bool = False) -> Arm:
    return Arm(name, name, "arm", engine, "lab.Runner", 2, bare, lean)


def test_a_full_run_has_every_chart_as_svg_and_that_of_the_first_screen_as_png(full_run: RenderedRun) -> None:
    assert {path.stem for path in full_run.rendered.charts} == EXPECTED
    assert {path.stem for path in full_run.rendered.charts if path.suffix == ".png"} == {"decision-map"}


def test_files_are_well_formed_free_of_metadata_and_not_blank(full_run: RenderedRun) -> None:
    for path in full_run.rendered.charts:
        if path.suffix == ".svg":
            text = path.read_text()
            assert ElementTree.fromstring(text).tag.endswith("svg")
            assert set(re.findall(r"https?://[^\s\"<]+", text)) <= {
                "http://www.w3.org/2000/svg",
                "http://www.w3.org/1999/xlink",
            }
            assert "metadata" not in text
            assert "Matplotlib" not in text
        else:
            with Image.open(path) as image:
                assert image.width > 700
                assert image.info.keys() <= {"dpi"}
                assert len(image.convert("RGB").getcolors(maxcolors=1 << 20) or []) > 10


@pytest.mark.slow
def test_the_same_records_give_the_same_bytes(tmp_path: Path) -> None:
    records = synthetic.records(synthetic.STOCK, blocks=2, latencies=6)
    folders = [synthetic.write(tmp_path / name, records) for name in ("one", "two")]
    for folder in folders:
        reports.render(folder)
    files = [{p.relative_to(f): p.read_bytes() for p in f.rglob("*") if p.is_file()} for f in folders]
    assert len(files[0]) == 6 + len(EXPECTED)
    assert files[0] == files[1]


def test_an_arm_keeps_its_look_whoever_takes_part() -> None:
    known = [arm("threads"), arm("dask", "dask"), arm("ray", "ray"), arm("processes", "processes")]
    alone, together = style.marks([arm("mine")]), style.marks([*known, arm("mine")])
    assert alone["mine"] == together["mine"]
    assert len({mark.colour for mark in together.values()}) == 5
    assert len({mark.marker for mark in together.values()}) == 5


def test_lean_and_bare_arms_share_the_hue_and_differ_in_the_mark() -> None:
    found = style.marks([arm("dask", "dask"), arm("lean-dask", "dask", lean=True), arm("bare-dask", "dask", bare=True)])
    assert len({mark.colour for mark in found.values()}) == 1
    assert len({mark.line for mark in found.values()}) == 3
    assert found["lean-dask"].marker != found["dask"].marker
    assert found["bare-dask"].hollow


def test_many_unknown_arms_have_colours_of_their_own_while_there_are_any() -> None:
    names = [f"custom-{i}" for i in range(len(style.OTHERS))]
    found = style.marks([arm(name) for name in names])
    assert len({mark.colour for mark in found.values()}) == len(names)
    assert len(style.marks([arm(f"custom-{i}") for i in range(40)])) == 40


def test_every_colour_of_a_chart_has_a_twin_for_dark_pages(full_run: RenderedRun) -> None:
    for path in full_run.rendered.charts:
        if path.suffix == ".svg":
            assert set(re.findall(r"#[0-9a-f]{6}\b", path.read_text())) <= style.DARK.keys()


def test_text_and_marks_stand_out_from_both_pages() -> None:
    def luminance(colour: str) -> float:
        parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
        linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    def contrast(one: str, other: str) -> float:
        low, high = sorted((luminance(one), luminance(other)))
        return (high + 0.05) / (low + 0.05)

    for text in (style.INK, style.MUTED):
        assert contrast(text, style.SURFACE) >= 4.5
        assert contrast(style.DARK[text], style.DARK[style.SURFACE]) >= 4.5
    for colour in {m.colour for m in style.marks([arm(n) for n in ("threads", "dask", "ray", "processes")]).values()}:
        assert contrast(colour, style.SURFACE) >= 3 or colour == "#cc79a7"
        assert contrast(style.DARK[colour], style.DARK[style.SURFACE]) >= 4.5


def test_inline_charts_have_alternatives_and_ids_of_their_own(full_run: RenderedRun) -> None:
    ids = re.findall(r'\bid="([^"]+)"', full_run.html)
    assert len(ids) == len(set(ids))
    targets = re.findall(r'href="#([^"]+)"', full_run.html) + re.findall(r"url\(#([^)]+)\)", full_run.html)
    assert targets
    assert set(targets) <= set(ids)
    assert full_run.html.count('role="img"') == len(EXPECTED)
    assert len(re.findall(r"<title id=[^>]+>[^<]+</title><desc id=[^>]+>[^<]{80,}</desc>", full_run.html)) == len(
        EXPECTED
    )


def test_inline_colours_are_all_variables_that_the_page_sets(full_run: RenderedRun) -> None:
    used = set(re.findall(r"var\((--c[0-9a-f]{6})\)", full_run.html))
    assert used
    for variables in (svg.variables(dark=False), svg.variables(dark=True)):
        assert all(f"{name}:#" in variables for name in used)


@pytest.mark.parametrize("chart", charts.CHARTS, ids=lambda chart: chart.__name__)
def test_each_chart_says_what_it_lacks(tmp_path: Path, chart) -> None:
    failed = [replace(t, fails="no") for t in synthetic.SMOKE]
    summary = summarise(synthetic.write(tmp_path, synthetic.records(failed, blocks=1)))
    drawn = chart(summary)
    assert isinstance(drawn, Missing)
    assert drawn.reason.endswith(".")


def test_bars_are_medians_of_what_each_block_was_made_of(tmp_path: Path) -> None:
    ends = [(1.0, 1.5, 3.5, 4.0), (9.0, 9.5, 11.5, 12.0), (2.0, 4.0, 8.0, 9.0)]
    records = [
        replace(record, phases=Phases(startup, first, None, None, total - last, total))
        for record in synthetic.records([synthetic.THREADS], [("startup", synthetic.graph(2))], blocks=3)
        for startup, first, last, total in [ends[record.block]]
    ]
    drawn = phases.where_time_goes(summarise(synthetic.write(tmp_path, records)))
    assert isinstance(drawn, style.Drawing)
    assert [bar.get_width() for bar in drawn.figure.axes[0].patches] == [2.0, 0.5, 2.0, 0.5]


def test_the_frontier_is_what_no_prefect_arm_beats() -> None:
    def point(name: str, makespan: float, size: float, bare: bool = False) -> memory.Footprint:
        return memory.Footprint(arm(name, bare=bare), makespan, size)

    points = [point("bare", 0.1, 1, bare=True), point("a", 1, 5), point("b", 2, 3), point("c", 3, 4), point("d", 4, 2)]
    assert [p.arm.name for p in memory.frontier(points)] == ["a", "b", "d"]


def test_the_regions_of_the_decision_map_leave_no_gap_where_three_arms_meet() -> None:
    runners = [arm("threads"), arm("dask", "dask"), arm("lean-dask", "dask", lean=True)]
    drawn = Map(
        kind="spin",
        cold=True,
        models=tuple(SimpleNamespace(arm=runner) for runner in runners),
        tasks=np.array([2.0, 100.0]),
        durations_s=np.array([0.1, 10.0]),
        times=np.array([[[0.0, 5.0], [5.0, 5.0]], [[5.0, 0.0], [5.0, 5.0]], [[5.0, 5.0], [0.0, 5.0]]]),
        tie=np.ones((2, 2)),
        cluster=None,
    )
    fig = Figure(figsize=(2, 2), dpi=100)
    axes = fig.add_axes((0, 0, 1, 1), xscale="log", yscale="log", xlim=(2, 100), ylim=(0.1, 10))
    axes.set_axis_off()
    decision._regions(axes, drawn, style.marks(runners))
    canvas = FigureCanvasAgg(fig)
    canvas.draw()

    pixels = np.asarray(canvas.buffer_rgba())[..., :3]
    assert (pixels.min(axis=2) < 250).all()
    assert len(np.unique(pixels.reshape(-1, 3), axis=0)) >= 3


@pytest.mark.parametrize("share", [0.3, 0.5, 0.7])
def test_no_name_in_the_decision_map_covers_another(share: float) -> None:
    """Two triangles beside each other, both widest at the same height, below a third region."""
    runners = [arm("sequential", "none"), arm("threads"), arm("processes", "processes")]
    tasks, durations_s = np.geomspace(2, 1e5, 81), np.geomspace(1e-3, 100, 65)
    rows, columns = np.mgrid[0:1:65j, 0:1:81j]
    first = np.where(rows > 0.6, 2, np.where(columns + rows / 4 < share, 0, 1))
    times = np.stack([np.where(first == place, 0.0, 5.0) for place in range(3)])
    models = tuple(SimpleNamespace(arm=runner) for runner in runners)
    drawn = Map("spin", True, models, tasks, durations_s, times, -np.ones_like(rows), None)  # type: ignore[arg-type]
    fig = Figure(figsize=(1.9, 1.7), dpi=100)
    axes = fig.add_axes((0, 0, 1, 1), xscale="log", yscale="log", xlim=(2, 1e5), ylim=(1e-3, 100))
    decision._name_regions(axes, drawn)
    canvas = FigureCanvasAgg(fig)
    canvas.draw()

    boxes = [text.get_window_extent(canvas.get_renderer()) for text in axes.texts]
    assert len(boxes) >= 2
    assert not any(one.overlaps(other) for one, other in itertools.combinations(boxes, 2))


def test_a_chart_shows_hostile_names_as_text(full_run: RenderedRun) -> None:
    for path in full_run.rendered.charts:
        if path.suffix == ".svg":
            assert SCRIPT not in path.read_text()
