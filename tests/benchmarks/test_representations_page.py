"""The page on representations holds what its command has measured."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from perdure.records.evaluation import ClassResult, Evaluation, SineResult, write_evaluations
from perdure.records.folder import own_folder
from perdure.records.requested import note_request
from perdure.representation.file import shipped_representations
from tests.conftest import load_module

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
page = load_module("representations_page", ROOT / "benchmarks" / "representations_page.py")


@pytest.fixture(scope="module")
def command():
    """The module that measures, which imports others of its folder."""
    with pytest.MonkeyPatch.context() as patches:
        patches.syspath_prepend(str(ROOT / "benchmarks"))
        yield load_module("representations", ROOT / "benchmarks" / "representations.py")


@pytest.fixture
def numbers():
    return json.loads((DOCS / "representations.json").read_text(encoding="utf-8"))


def test_the_page_is_what_the_command_writes(numbers, tmp_path):
    written = tmp_path / "representations.md"
    shutil.copy(DOCS / "representations.md", written)
    page.write(numbers, tmp_path)
    assert written.read_bytes() == (DOCS / "representations.md").read_bytes()
    assert (tmp_path / "figures" / "oml-classes.svg").exists()


def test_what_comes_with_perdure_was_measured_with_the_heads_that_it_is_made_for(numbers):
    shipped = set(shipped_representations())
    for name in shipped & page.TITLES.keys():
        heads = {head for head, its in numbers["characters"][name]["heads"].items() if {"200", "600"} <= its.keys()}
        assert set(page.HEADS) - heads <= {"sgd"}, name
    assert set(page.OML_COUNTS) == numbers["characters"]["omniglot-small"]["heads"]["sgd"].keys()


def test_all_that_comes_with_perdure_has_a_row():
    assert set(shipped_representations()) <= page.TITLES.keys() | page.SINE_TITLES.keys()


def test_measured_with_interval_beside_published():
    held_out = {"600": {"held_out": [0.5, 0.49, 0.52]}}
    table = page.tables({"characters": {"omniglot-small": {"heads": {"sgd": held_out}}}})["held-out-600"]
    _, _, *rows = table.splitlines()
    cells = {title.strip(): its for _, title, *its, _ in (row.split("|") for row in rows)}
    assert list(cells) == list(page.TITLES.values())
    assert [it.strip() for it in cells["OML"]] == ["50.0 ± 1.5 [55]", *["–"] * (len(page.HEADS) - 1)]
    assert cells["ANML"][0].strip() == "– [63.8]"


def test_a_page_without_a_mark_is_left_alone(tmp_path):
    path = tmp_path / "representations.md"
    path.write_text("<!-- table: sine -->\nno end\n", encoding="utf-8")
    with pytest.raises(ValueError, match="0 times, expected once"):
        page.write({}, tmp_path)
    assert path.read_text(encoding="utf-8") == "<!-- table: sine -->\nno end\n"


class _Spec:
    def __init__(self, sha256):
        self.config = {"representations": [{"name": "some", "sha256": sha256}]}


def evaluation(*results):
    return [Evaluation("some", {}, results)]


def test_numbers_are_means_with_their_intervals(command):
    of_classes = ClassResult("lda", 200, None, np.array([0.5, 0.7]), np.array([0.25, 0.25]))
    errors = np.array([[[1.0, 9.0], [2.0, 4.0]]])
    numbers = {}
    command.add(numbers, "characters", _Spec("a"), evaluation(of_classes))
    command.add(numbers, "sines", _Spec("a"), evaluation(SineResult("sgd", 0.1, errors)))
    found = numbers["characters"]["some"]["heads"]["lda"]["200"]
    assert found["held_out"] == (0.25, 0.25, 0.25)
    assert found["trajectory"] == pytest.approx((0.6, 0.5, 0.7))
    errors = numbers["sines"]["some"]["heads"]["sgd"]
    assert [it[0] for it in errors["so_far"]] == [1, 3]
    assert [it[0] for it in errors["at_end"]] == [2, 4]


def test_numbers_of_features_that_have_changed_give_way(command):
    numbers = {}
    for sha256, head in (("a", "lda"), ("a", "sgd"), ("b", "sgd")):
        result = ClassResult(head, 200, None, np.array([0.5]), np.array([0.5]))
        command.add(numbers, "characters", _Spec(sha256), evaluation(result))
    assert numbers["characters"]["some"].keys() == {"sha256", "heads"}
    assert numbers["characters"]["some"]["heads"].keys() == {"sgd"}


def test_each_combination_on_the_disk_is_on_the_page(command, tmp_path, monkeypatch):
    """Also those of an evaluation that was stopped."""
    monkeypatch.chdir(tmp_path)
    spec = command.closed_form_spec("omniglot-small")
    assert command.recorded(spec) == []
    result = ClassResult("lda", 200, None, np.full(50, 0.5, np.float32), np.full(50, 0.5, np.float32))
    with own_folder(spec.default_folder(command.RECORDS), spec.config) as home:
        home.begin("evaluation", {})
        note_request(home, {"representations": ["omniglot-small"]})
        write_evaluations(home.path, [Evaluation("omniglot-small", spec.protocol, [result])])
    (found,) = command.recorded(spec)
    assert [(it.head, it.classes) for it in found.results] == [("lda", 200)]


def test_figures_are_drawn_once_all_their_curves_were_measured():
    interval = [0.5, 0.4, 0.6]
    cells = {
        "characters": {"10": {"held_out": interval, "trajectory": interval}},
        "sines": {"so_far": [interval] * 3, "at_end": [interval] * 3},
    }
    numbers = {}
    for kind, curves in (("characters", page.CURVES), ("sines", page.SINE_CURVES)):
        for name, head in curves:
            assert dict(page.figures(numbers)).keys() <= {"oml-classes"}
            numbers.setdefault(kind, {}).setdefault(name, {"heads": {}})["heads"][head] = cells[kind]
    labels = {name: it.axes[0].get_legend_handles_labels()[1] for name, it in page.figures(numbers)}
    assert labels.keys() == {"oml-classes", "oml-sine"}
    assert labels["oml-sine"] == ["OML, ridge", "OML, sgd", "pretraining, ridge", "pretraining, sgd"]


def test_features_of_which_nothing_is_known_have_no_row_of_sine_waves():
    measured = {"sines": {"sine-untrained": {"heads": {"sgd": {"error": [1.0, 0.5, 1.5]}}}}}
    without, having = page.tables({})["sine"], page.tables(measured)["sine"]
    assert "untrained" not in without
    assert "untrained" in having
