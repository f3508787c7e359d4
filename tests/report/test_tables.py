import dataclasses
import io

import pytest
from rich.console import Console

from perdure.cli.console import print_table, table_as_text
from perdure.metrics.anytime import ANYTIME
from perdure.metrics.transfer import mean_and_interval
from perdure.presets.learners import Published
from perdure.records.listing import list_records
from perdure.report.tables import comparison_table, published_figure, runs_table
from tests.report.conftest import MER


def text_of(table, width=100):
    file = io.StringIO()
    Console(file=file, width=width).print(table)
    return file.getvalue()


def lines_of(table, width=100):
    return text_of(table, width).splitlines()


def test_a_run_is_compared_with_the_published_figure(made_up_run):
    lines = lines_of(comparison_table([made_up_run(alignment=[0.1, 0.2, 0.3, 0.4, 0.5])]))
    words = [" ".join(line.split()) for line in lines]
    assert words[0] == "Training s"
    assert words[1] == "Learner Memory Publ. CPU ms"
    assert words[2] == "Benchmark Seeds RA RA Diff. LA BTI FWT Forg. Align. Kept kB"
    # Seeds 0.01 apart: half width t(0.975; 4) · 1.5811 % / √5 = 1.96 %; differences do not vary.
    assert words[4] == "mer 200 76.67 77.24 -0.57 90.00 -13.33 0.00 20.00 0.300 12.3"
    # 20 s of CPU time for 5 seeds of 9 examples.
    assert words[5] == "mnist-rotations 5 ± 1.96 ± 0.47 ± 1.96 ± 0.00 ± 0.00 ± 0.00 ± 0.196 444"
    assert words[6] == "400"


def test_everything_fits_100_columns(made_up_run):
    runs = [
        made_up_run("mer-algorithm-7", {"memory_size": 5120}, "mnist-many-permutations", alignment=[0.1] * 5),
        made_up_run(alignment=[-0.1] * 5),
    ]
    wide = [line.rstrip() for line in lines_of(comparison_table(runs), 200)]
    narrow = [line.rstrip() for line in lines_of(comparison_table(runs), 100)]
    assert wide[:9] == narrow[:9]
    assert "mnist-many-permutations" in narrow[5]


def test_no_number_of_many_metrics_is_cut_off(made_up_run, monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", "80")
    run = made_up_run("my-rather-long-method", MER, "mnist-permutations", alignment=[-10.5, 20.5, 30.5, 40.5, 50.5])
    metrics = {name: mean_and_interval([-40.1, 2.2, 1.3, 4.4, 5.5]) for name in (*run.summary.metrics, *ANYTIME)}
    table = comparison_table([dataclasses.replace(run, summary=dataclasses.replace(run.summary, metrics=metrics))])
    print_table(table)
    shown = capsys.readouterr().out
    assert "…" not in shown
    assert "…" not in table_as_text(table)
    words = shown.split()
    assert words.count(f"{100 * metrics['retained_accuracy'].ci95:.2f}") == 8  # of all metrics in percent
    assert words.count("Training") == 1


def test_columns_without_values_are_left_out(made_up_run):
    own = {"memory_size": 300}
    text = text_of(comparison_table([made_up_run(hyperparameters=own, full=False)]))
    assert all(header not in text for header in ("Publ.", "Diff.", "Forg.", "Align."))


def test_an_unfinished_run_has_dashes(made_up_run):
    lines = lines_of(comparison_table([made_up_run(), made_up_run(finished=False)]))
    unfinished = [line.split() for line in lines if line.split()][6:9]
    assert unfinished == [["mer-1", "200", "–", "77.24", *"–" * 6], ["mnist-rotations", "5", "±", "0.47", "–"], ["–"]]


def test_the_runs_table_tells_what_is_there(made_up_run):
    root = made_up_run().folder.parent
    made_up_run("online", {}, finished=False)
    (root / "broken").mkdir()
    (root / "broken" / "config.json").write_text("{")
    words = [line.split() for line in lines_of(runs_table(list_records(root)), 200) if line.split()]
    assert words[:6] == [
        ["Folder"],
        ["Kind", "What", "Seeds", "Status", "Figure"],
        ["mer-0", "mer,", "memory", "200,", "on", "mnist-rotations", "5", "finished", "RA", "76.67"],
        ["learner", "±", "1.96"],
        ["online-1", "online,", "on", "mnist-rotations", "5", "unfinished", "–"],
        ["learner", "0", "examples"],
    ]
    assert " ".join(words[6]).startswith(f"cannot be read: {root / 'broken' / 'config.json'} cannot be read as JSON")


def test_tables_of_no_runs_are_empty():
    assert lines_of(runs_table([]))[0].split() == ["Folder"]
    assert comparison_table([]).row_count == 0


def test_a_published_figure_holds_for_its_own_stream_only(made_up_run):
    assert published_figure(made_up_run(options={"tasks": 20})) == Published(77.24, 0.47)
    assert published_figure(made_up_run(options={"tasks": 5})) is None
    assert published_figure(made_up_run(benchmark="digits-rotations")) is None


@pytest.mark.parametrize(
    "other",
    [
        {"options": {"validation": True}},
        {"model": "wide_mlp"},
        {"own_parts": {"fields": {"loss": "mean_squared_error"}}},
        {"own_parts": {"fields": {"optimizer": "adam"}}},
    ],
)
def test_a_published_figure_holds_for_its_own_network_loss_and_optimizer_only(made_up_run, other):
    assert published_figure(made_up_run()) is not None
    assert published_figure(made_up_run(**other)) is None


def test_omniglot_has_a_network_of_its_own_and_all_its_examples(made_up_run):
    run = {"benchmark": "omniglot", "hyperparameters": {"memory_size": 500}}
    assert published_figure(made_up_run(**run)) == Published(32.05, 0.69)
    assert published_figure(made_up_run(**run, model="benchmark_mlp")) is None
    assert published_figure(made_up_run(**run, options={"examples_per_task": 100})) is None
