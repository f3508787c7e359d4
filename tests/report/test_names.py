"""Names that users choose: shown in figures as they are, and made into names of files that stay in their folder."""

import dataclasses
import importlib
import inspect
import pkgutil
import unicodedata
import warnings
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.figure import Figure
from matplotlib.text import Text

from perdure.cli.console import note, print_table, say, show, table_as_text
from perdure.records.evaluation import Evaluation, SineResult
from perdure.records.stream import MethodResult, StreamRecord
from perdure.report import figures
from perdure.report.figures import (
    accuracy_matrices,
    accuracy_matrix,
    accuracy_over_stream,
    alignment_over_stream,
    image_of,
    metric_bars,
    retained_against_memory,
    save_figures,
)
from perdure.report.figures.prequential import prequential_curves
from perdure.report.figures.representations import error_over_functions
from perdure.report.figures.saving import file_names
from perdure.report.figures.style import literal
from perdure.report.tables import comparison_table
from tests.conftest import first_short

FORMULAS = ["$x^2$", r"$\frac{$", "a $ b $ c", r"\$1 and $2$", "$$", "cost $_$"]
FIGURES = {
    "stream": accuracy_over_stream,
    "matrix": lambda records: accuracy_matrix(records[0]),
    "matrices": accuracy_matrices,
    "bars": metric_bars,
    "memory": retained_against_memory,
    "alignment": alignment_over_stream,
}


def named(record, name):
    """Return a run whose benchmark, learner and folder have a name."""
    learner, benchmark = ({**record.config[part], "name": name} for part in ("learner", "benchmark"))
    config = {**record.config, "learner": learner, "benchmark": benchmark}
    return dataclasses.replace(record, config=config, folder=record.folder.with_name(name.replace("/", "-")))


def is_formula(text):
    return bool(text.get_parse_math()) and text._preprocess_math(text.get_text())[1] is True


def texts_of(figure):
    return [it for it in figure.findobj(Text) if isinstance(it, Text) and it.get_text()]


@pytest.mark.parametrize("name", first_short(FORMULAS))
@pytest.mark.parametrize("draw", FIGURES)
def test_names_are_shown_as_they_are(made_up_run, draw, name):
    runs = [named(made_up_run(alignment=(0.02, 0.04, 0.03, 0.02, 0.01)), name) for _ in range(2)]
    figure = FIGURES[draw](runs)
    for ending in ("png", "svg"):
        image_of(figure, ending)
    shown = [text for text in texts_of(figure) if "$" in text.get_text()]
    assert shown
    assert not any(map(is_formula, shown))


@pytest.mark.parametrize("name", first_short(FORMULAS))
def test_names_of_streams_and_methods_are_shown_as_they_are(name):
    result = MethodResult(name, {}, {}, [2], 0.1, np.arange(1, 4), np.array([0.1, 0.2, 0.3]))
    config = {"name": name, "window": 1000, "regression": False}
    figure = prequential_curves(StreamRecord(Path("run"), config, [result], 3))
    image_of(figure, "png")
    shown = [text for text in texts_of(figure) if name in text.get_text()]
    assert len(shown) == 2
    assert not any(map(is_formula, shown))


def test_every_figure_shows_names_as_they_are():
    names = [f"{figures.__name__}.{it.name}" for it in pkgutil.iter_modules(figures.__path__)]
    modules = [importlib.import_module(name) for name in names]
    drawing = [
        function
        for module in modules
        for name, function in vars(module).items()
        if getattr(function, "__module__", None) == module.__name__
        and getattr(function, "__annotations__", {}).get("return") == "Figure"
        and not name.startswith("_")
    ]
    drawn_by_others = {"accuracy_against_classes", "error_over_functions", "methods_on_embeddings"}
    plain = {it.__name__ for it in drawing if not inspect.getsource(inspect.unwrap(it)).startswith("@literal\n")}
    assert plain == drawn_by_others


def test_names_do_not_steer_the_terminal(made_up_run, capsys):
    name = "a\nb\x1b[31mred\x9b5m\a"
    run = named(made_up_run(), name)
    print_table(comparison_table([run]))
    show(name)
    say(name)
    note(name)
    printed = capsys.readouterr()
    shown = printed.out + printed.err + table_as_text(comparison_table([run]))
    assert shown.count("[31mred5m") == 7  # learner and benchmark in each table
    assert not [it for it in shown if unicodedata.category(it) == "Cc" and it != "\n"]


def test_names_without_end_are_cut(made_up_run):
    run = named(made_up_run(), "x" * 100_000)
    assert (len(run.learner), len(run.benchmark)) == (500, 500)


def test_the_numbers_of_logarithmic_axes_stay_formulas():
    errors = [SineResult("sgd", 0.1, np.full((2, 2, 2), size, np.float32)) for size in (0.001, 100)]
    figure = error_over_functions([Evaluation(f"${n}$", {}, [it]) for n, it in enumerate(errors)])
    image_of(figure, "png")
    shown = [text for text in texts_of(figure) if "$" in text.get_text()]
    numbers = [text for text in shown if "mathdefault" in text.get_text()]
    assert numbers
    assert all(map(is_formula, numbers))
    assert {text.get_text() for text in shown if not is_formula(text)} == {"$0$", "$1$"}


def test_the_user_s_own_figures_are_left_alone():
    literal(lambda: Figure())()
    assert mpl.rcParams["text.parse_math"] is True


HOSTILE = [
    "../../escaped/z",
    "/etc/x",
    "a/b",
    "..",
    ".",
    ".hidden",
    "a\\b",
    "x" * 9999,
    "日" * 500,
    "n\nl",
    "CON:1",
    "",
]


@pytest.mark.parametrize("name", first_short(HOSTILE, 2))
def test_figures_stay_in_their_folder(made_up_run, tmp_path, name):
    folder = tmp_path / "out" / "deep" / "figures"
    record = made_up_run(seeds=1)
    before = {it for it in tmp_path.rglob("*") if it.is_file()}
    benchmark = {**record.config["benchmark"], "name": name}
    record = dataclasses.replace(record, config={**record.config, "benchmark": benchmark}, folder=Path(name))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # letters that the font lacks
        paths = save_figures([record], folder)
    assert len(set(paths)) == 6
    assert all(path.parent == folder and path.is_file() for path in paths)
    assert {it for it in tmp_path.rglob("*") if it.is_file()} - before == set(paths)


@given(st.lists(st.one_of(st.text(), st.sampled_from([*HOSTILE, "a", "A", "a-2"])), max_size=8))
def test_names_of_files_are_plain_short_and_different(names):
    chosen = file_names(names)
    assert len({it.lower() for it in chosen}) == len(names)
    for it in chosen:
        assert not it.startswith(".")
        assert 0 < len(it.encode()) < 150
        assert all(letter.isalnum() or letter in "._-" for letter in it)


@pytest.mark.parametrize("name", ["mnist-rotations", "a.b_c-1", "Übung", "日本"])
def test_plain_names_are_kept(name):
    assert file_names([name, "other"]) == [name, "other"]


def test_runs_of_equal_folder_names_have_figures_of_their_own(made_up_run, tmp_path):
    runs = [dataclasses.replace(made_up_run(), folder=Path(place) / "run") for place in "abc"]
    paths = save_figures(runs, tmp_path / "figures")
    assert len(set(paths)) == 2 * (3 + 3)
    assert {it.stem for it in paths if "matrix" in it.name} == {f"accuracy-matrix-run{end}" for end in ("", "-2", "-3")}


@pytest.mark.parametrize("value", first_short([-1e100, -1e7, -1e20, -3e38]))
@pytest.mark.parametrize("full", [True, False])
def test_any_r2_is_drawn(made_up_run, tmp_path, value, full):
    runs = []
    for _ in range(2):
        made = made_up_run(full=full, seeds=2)
        accuracy = made.accuracy.copy()
        accuracy[0, 3, 0] = value
        metrics = {name: it._replace(mean=value, ci95=-value / 3) for name, it in made.summary.metrics.items()}
        runs.append(
            dataclasses.replace(made, accuracy=accuracy, summary=dataclasses.replace(made.summary, metrics=metrics))
        )
    save_figures(runs, tmp_path / "figures")
    image_of(retained_against_memory(runs), "png")
