"""The runs of the MER study, as published and in a quick pass."""

import copy

import pytest

from perdure.learners.catalog import CATALOG, make_learner
from perdure.presets import studies
from perdure.presets.learners import load_presets, published
from perdure.presets.studies import load_study, study_names
from perdure.streams.catalog import BenchmarkRecipe

MNIST = {"mnist-rotations", "mnist-permutations", "mnist-many-permutations"}
MEMORIES = {(name, size) for name in MNIST for size in (200, 500, 5120)} - {("mnist-many-permutations", 200)}


def settings(cells, learner):
    found = [(it.preset.benchmark, it.preset.memory_size) for it in cells if it.preset.learner == learner]
    assert len(found) == len(set(found))
    return set(found)


@pytest.mark.parametrize("learner", ["gem", "er", "mer"])
def test_retained_holds_every_published_memory_size(learner):
    assert settings(load_study("mer").tables["retained"], learner) == MEMORIES


@pytest.mark.parametrize(
    "learner", ["online", "independent", "ewc", "nearest-mean", "lda", "ridge", "random-fourier-ridge"]
)
def test_retained_holds_learners_without_memory(learner):
    assert settings(load_study("mer").tables["retained"], learner) == {(name, None) for name in MNIST}


@pytest.mark.parametrize("learner", ["la-maml", "c-maml", "sync"])
def test_looking_ahead_is_measured_in_the_settings_of_its_paper(learner):
    cells = load_study("la-maml").tables["look-ahead"]
    memory = {"mnist-rotations": 200, "mnist-permutations": 200, "mnist-many-permutations": 500}
    assert settings(cells, learner) == set(memory.items())
    assert {it.n_seeds for it in cells} == {5}
    for cell in cells:
        figure = published(cell.preset.learner, cell.preset.benchmark, cell.preset.memory_size)
        assert figure is not None
        assert figure.remembered == ((cell.preset.learner, cell.preset.benchmark) != ("la-maml", "mnist-rotations"))


@pytest.mark.parametrize("learner", ["er", "er-algorithm-5", "mer", "mer-algorithm-6", "mer-algorithm-7"])
def test_variants_hold_every_algorithm_in_every_setting(learner):
    assert settings(load_study("mer").tables["variants"], learner) == MEMORIES


def test_every_mnist_preset_of_the_paper_and_its_baselines_is_measured():
    tables = load_study("mer").tables
    names = {
        (it.preset.learner, it.preset.benchmark, it.preset.memory_size) for cells in tables.values() for it in cells
    }
    # Methods that the paper does not have.
    later = {"averaged-er", "cls-er", "der", "der++", "er-ace", "er-ace-released", "er-ace-released-task-free", "gdumb"}
    later |= {
        "ewc-per-example",
        "lwf",
        "mir",
        "si",
        "la-maml",
        "sync",
        "c-maml",
    }  # methods that the paper does not have
    presets = [it for it in load_presets() if it.benchmark in MNIST and it.learner not in later]
    assert names >= {(it.learner, it.benchmark, it.memory_size) for it in presets}


def test_a_run_that_stands_in_several_tables_is_the_same_in_all():
    study = load_study("mer")
    by_preset = {}
    for cells in study.tables.values():
        for cell in cells:
            preset = cell.preset
            by_preset.setdefault((preset.learner, preset.benchmark, preset.memory_size), []).append(cell)
    assert any(len(cells) == 3 for cells in by_preset.values())
    assert all(cell == cells[0] for cells in by_preset.values() for cell in cells)


def test_er_and_mer_log_alignment_and_figures_have_their_matrices():
    cells = load_study("mer").tables["retained"]
    assert {it.preset.learner for it in cells if it.alignment} == {"er", "mer"}
    whole = {(it.preset.learner, it.preset.memory_size) for it in cells if it.evaluation == "full"}
    assert whole == {("online", None), ("er", 500), ("mer", 500)}


def test_time_is_taken_of_the_cells_with_targets():
    timing = load_study("mer").timing
    assert {(it.preset.learner, it.preset.benchmark, it.preset.memory_size) for it in timing} == {
        ("online", "mnist-rotations", None),
        ("ewc", "mnist-rotations", None),
        ("gem", "mnist-rotations", 5120),
        ("mer", "mnist-rotations", 200),
        ("mer", "mnist-permutations", 500),
    }
    assert {(it.n_seeds, it.evaluation, it.alignment) for it in timing} == {(1, "needed", False)}


def test_seeds_are_as_asked_for_or_of_the_table():
    assert {it.n_seeds for it in load_study("mer").tables["variants"]} == {5}
    assert {it.n_seeds for it in load_study("mer", 3).tables["variants"]} == {3}
    assert {it.n_seeds for it in load_study("mer", quick=True).tables["variants"]} == {2}


def test_a_quick_pass_has_the_same_cells_and_possible_values():
    whole, quick = load_study("mer").tables, load_study("mer", quick=True).tables
    assert {name: len(cells) for name, cells in whole.items()} == {name: len(cells) for name, cells in quick.items()}
    for before, after in zip(whole["variants"], quick["variants"], strict=True):
        assert after.preset.learner == before.preset.learner
        assert after.preset.memory_size == round((before.preset.memory_size or 0) / 20)
        assert after.preset.retained_accuracy is None
    for cells in quick.values():
        for cell in cells:
            make_learner(cell.preset.learner, **cell.preset.hyperparameters)
            BenchmarkRecipe(cell.preset.benchmark, cell.preset.options)


def test_names_in_the_study_are_known():
    from perdure import models

    for cells in load_study("mer").tables.values():
        for cell in cells:
            assert cell.preset.learner in CATALOG
            assert callable(getattr(models, BenchmarkRecipe(cell.preset.benchmark).network))


def test_the_costliest_runs_have_fewer_seeds_but_never_more_than_asked_for():
    def seeds(asked):
        cells = load_study("mer", asked).tables["retained"]
        return {
            cell.preset.memory_size: cell.n_seeds
            for cell in cells
            if (cell.preset.learner, cell.preset.benchmark) == ("gem", "mnist-rotations")
        }

    assert seeds(None) == {5120: 2, 500: 5, 200: 5}
    assert seeds(3) == {5120: 2, 500: 3, 200: 3}
    assert set(seeds(1).values()) == {1}


def test_unknown_studies_are_refused():
    assert study_names() == ["mer", "la-maml"]
    with pytest.raises(ValueError, match="there is no study 'gem', expected: mer, la-maml"):
        load_study("gem")


def test_every_learner_of_a_table_has_a_preset_for_each_of_its_benchmarks(monkeypatch):
    content = copy.deepcopy(studies._file())
    content["mer"]["tables"]["omniglot"]["learners"] += ["task-input", "a-gem"]
    monkeypatch.setattr(studies, "_file", lambda: content)
    message = "no preset of task-input on omniglot, a-gem on omniglot, expected one .* of the table omniglot"
    with pytest.raises(ValueError, match=message):
        load_study("mer")
