"""`perdure results`, `report` and `resume` serve every kind of run."""

import importlib

import pytest

from perdure.cli import report as reporting
from perdure.cli import resume as resuming
from perdure.records.folder import KINDS

WORDS = {
    "learner": ["mer", "mnist-rotations", "68.33", "85.00"],
    "tuning": ["mer on validation streams of digits-rotations: 2 combinations", "← chosen", "diverged"],
    "reproduction": ["Meta-Experience Replay, measured", "perdure reproduce mer --table retained", "68.33"],
    "representation": ["OML on sine waves", "error 0.5"],
    "evaluation": ["small", "75.0 [75.0, 75.0]", "sine"],
    "comparison": ["1×50 online", "37.5 ± ", "64.7 ± 2.6"],
    "agent": ["agent", "7.50 ± "],
    "stream": ["300 rows of rows.csv", "auto 75.0 70.0 0.500 0.250 1", "er 75.0 70.0 –"],
    "methods": ["MER 200 68.33 ± 21.18"],
    "embeddings": ["own.npz: 2 examples learned in one pass, one class after another", "lda 75.0 50.0 30 1 er 50.0"],
}
FIGURES = {
    "learner": [
        "accuracy-over-stream-mnist-rotations",
        "accuracy-over-time-mnist-rotations",
        "class-accuracy-learner",
        "metrics-mnist-rotations",
    ],
    "methods": [
        "accuracy-over-stream-mnist-rotations",
        "accuracy-over-time-mnist-rotations",
        "class-accuracy-mer-run",
        "metrics-mnist-rotations",
    ],
    "tuning": ["search"],
    "evaluation": ["classes", "sine"],
    "agent": ["scores-over-frames"],
    "stream": ["prequential"],
    "embeddings": ["embeddings"],
}
RESUMED = {
    "learner": "experiments.supervised.plan.resume_run",
    "tuning": "experiments.tuning.tune.resume_search",
    "reproduction": "experiments.reproduction.measure.resume_study",
    "representation": "experiments.representations.train.resume_training",
    "evaluation": "experiments.representations.evaluation.resume_evaluation",
    "comparison": "experiments.representations.learners.resume_comparison",
    "agent": "experiments.agents.plan.resume_agent",
    "stream": "online.stream.resume_stream",
    "embeddings": "experiments.representations.embeddings.resume_embeddings",
    "methods": "experiments.methods.compare.resume_methods",
}


@pytest.mark.filterwarnings("ignore:Mean of empty slice")
@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_is_reported_with_its_tables_and_figures(kind, record_of, tmp_path, capsys):
    folder = record_of(kind)
    reporting.report([folder], tmp_path / "figures")
    printed = " ".join(capsys.readouterr().out.split())
    for words in WORDS[kind]:
        assert words in printed
    drawn = sorted(path.name for path in (tmp_path / "figures").glob("*"))
    assert drawn == sorted(f"{name}.{ending}" for name in FIGURES.get(kind, []) for ending in ("png", "svg"))


@pytest.mark.filterwarnings("ignore:Mean of empty slice")
@pytest.mark.parametrize("kind", [it for it in FIGURES if it not in ("learner", "methods")])  # which have pages
def test_a_page_has_the_figures_of_its_runs(kind, record_of, tmp_path):
    page = tmp_path / "page.html"
    reporting.report([record_of(kind)], format_=reporting.Format.html, out=page)
    assert page.read_text(encoding="utf-8").count("<figure>") == len(FIGURES[kind])


def test_a_folder_given_twice_is_one_run(record_of, capsys):
    folder = record_of("learner")
    reporting.report([folder, folder / ".." / folder.name])
    assert capsys.readouterr().out.count("mnist-rotations") == 1


def test_a_folder_without_runs_says_so(tmp_path, capsys):
    reporting.results(tmp_path)
    ended = capsys.readouterr()
    assert "holds no runs; give the folder that holds the folders of runs" in ended.err
    assert ended.out == ""


def test_runs_of_several_kinds_are_reported_together(record_of, capsys):
    reporting.report([record_of("learner"), record_of("comparison"), record_of("agent")])
    printed = " ".join(capsys.readouterr().out.split())
    for kind in ("learner", "comparison", "agent"):
        assert all(words in printed for words in WORDS[kind])


def test_several_searches_have_figures_of_their_own(record_of, tmp_path, capsys):
    first = record_of("tuning").rename(tmp_path / "first")
    reporting.report([first, record_of("tuning")], tmp_path / "figures")
    assert sorted(path.name for path in (tmp_path / "figures").iterdir()) == ["first", "tuning"]


@pytest.mark.parametrize("kind", KINDS)
def test_an_unfinished_run_is_not_reported(kind, record_of):
    folder = record_of(kind)
    (folder / "summary.json").unlink()
    with pytest.raises(ValueError, match=f"not finished: .*{kind}; resume them with perdure resume"):
        reporting.report([folder])


@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_is_resumed_by_its_own_function(kind, record_of, monkeypatch, tmp_path):
    calls = []
    module, _, name = RESUMED[kind].rpartition(".")
    module = importlib.import_module(f"perdure.{module}")
    monkeypatch.setattr(module, name, lambda folder, *given, **options: calls.append((folder, given)) or Resumed())
    monkeypatch.setattr(resuming, "report_run", lambda folder: calls.append("reported"))
    monkeypatch.setattr("perdure.cli.reproduce.write_pages", lambda *given: None)
    monkeypatch.setattr("perdure.presets.file.add_preset", lambda *given: None)
    monkeypatch.setattr("perdure.report.comparison.save_comparison", lambda *given: None)
    folder = record_of(kind)
    resuming.resume(folder, data_dir=tmp_path)
    assert calls == ["reported"]  # it is finished
    (folder / "summary.json").unlink()
    resuming.resume(folder, data_dir=tmp_path, quiet=True)
    (resumed, given), reported = calls[1:]
    assert (resumed, reported) == (folder, "reported")
    assert tmp_path in given or kind in ("agent", "stream", "embeddings")  # they have no folder of data


class Resumed:
    """Stands for what resuming returns."""

    def __getattr__(self, name):
        """Return another."""
        return Resumed()


@pytest.mark.filterwarnings("ignore:Mean of empty slice")
@pytest.mark.parametrize("kind", ["learner", "tuning", "evaluation", "agent"])
def test_a_finished_run_draws_its_figures_in_its_folder(kind, record_of, capsys):
    folder = record_of(kind)
    resuming.resume(folder)
    assert {path.stem for path in (folder / "figures").iterdir()} == set(FIGURES[kind])
    assert capsys.readouterr().out.endswith(f"record and figures: {folder}\n")


def test_every_kind_is_listed(record_of, tmp_path, capsys):
    for kind in KINDS:
        record_of(kind)
    reporting.results(tmp_path)
    lines = capsys.readouterr().out.split()
    assert all(lines.count(kind) >= 2 for kind in KINDS)  # folder and kind
    assert lines.count("finished") == len(KINDS)


def test_a_finished_training_says_where_the_representation_is(record_of, capsys):
    folder = record_of("representation")
    resuming.resume(folder)
    file = folder / "representation.safetensors"
    assert capsys.readouterr().out.endswith(f"representation: {file}\nrecord: {folder}\n")
