"""Files of own presets."""

import tomllib

import pytest

from perdure.experiments.supervised.plan import choose_learner
from perdure.learners.er import ER
from perdure.presets.file import add_preset, read_presets
from perdure.presets.learners import Preset, Published, load_presets


def er_preset(memory_size=50, **changes):
    hyperparameters = {"learning_rate": 1e-05, "memory_size": memory_size, "replay_batch_size": 7}
    arguments = {"source": 'by "hand"\\', "retained_accuracy": None, **changes}
    return Preset("er", "digits-rotations", memory_size, hyperparameters, **arguments)


def test_every_built_in_preset_is_read_as_it_was_written(tmp_path):
    for preset in load_presets():
        add_preset(tmp_path / "all.toml", preset)
    by_key = {(it.learner, it.benchmark, it.memory_size): it for it in load_presets()}
    read = read_presets(tmp_path / "all.toml")
    assert {(it.learner, it.benchmark, it.memory_size): it for it in read} == by_key
    assert len(read) == len(by_key)


def test_a_file_has_the_groups_of_the_built_in_one(tmp_path):
    add_preset(tmp_path / "new" / "p.toml", er_preset(options={"tasks": 3, "task_order": [1, 0, 2]}))
    (group,) = tomllib.loads((tmp_path / "new" / "p.toml").read_text())["group"]
    assert group == {
        "source": 'by "hand"\\',
        "learner": "er",
        "presets": [
            {
                "benchmark": "digits-rotations",
                "learning_rate": 1e-05,
                "memory_size": 50,
                "replay_batch_size": 7,
                "options": {"tasks": 3, "task_order": [1, 0, 2]},
            }
        ],
    }


def test_a_preset_takes_the_place_of_that_for_the_same_memory_only(tmp_path):
    path = tmp_path / "p.toml"
    other = er_preset(memory_size=60, retained_accuracy=Published(70.0, 1.5))
    for preset in (er_preset(), other, er_preset(source="again")):
        add_preset(path, preset)
    assert read_presets(path) == [other, er_preset(source="again")]


def test_a_learner_takes_its_values_from_the_file(tmp_path):
    add_preset(tmp_path / "p.toml", er_preset())
    assert choose_learner("er", "digits-rotations", {}, tmp_path / "p.toml").learner == ER(1e-05, 50, 7)
    given = choose_learner("er", "digits-rotations", {"memory_size": 40}, tmp_path / "p.toml")
    assert given.learner == ER(1e-05, 40, 7)
    assert "memory size 40; the hyper-parameters not given are those for 50" in given.notes[0]


def test_a_file_without_the_preset_is_refused(tmp_path):
    add_preset(tmp_path / "p.toml", er_preset())
    with pytest.raises(ValueError, match=r"p.toml holds no preset of mer for .*; it holds er for digits-rotations"):
        choose_learner("mer", "digits-rotations", {}, tmp_path / "p.toml")


ROW = 'presets = [{ benchmark = "x", learning_rate = 0.1 }]'
DAMAGED = {
    "no TOML": ("group = [", "cannot be read as a file of presets"),
    "empty": ("", "has no \\[\\[group\\]\\]"),
    "no group": ("group = 3", "has no \\[\\[group\\]\\]"),
    "no learner": (f'[[group]]\nsource = "s"\n{ROW}', "lacks its learner or its source"),
    "no source": (f'[[group]]\nlearner = "er"\n{ROW}', "lacks its learner or its source"),
    "no presets": ('[[group]]\nsource = "s"\nlearner = "er"', "the group of er has no list of presets"),
    "odd presets": ('[[group]]\nsource = "s"\nlearner = "er"\npresets = [3]', "the group of er has no list of presets"),
    "no benchmark": ('[[group]]\nsource = "s"\nlearner = "er"\npresets = [{}]', "a preset of er names no benchmark"),
}


@pytest.mark.parametrize("name", DAMAGED)
def test_what_is_no_file_of_presets_is_refused_and_stays(tmp_path, name):
    content, message = DAMAGED[name]
    path = tmp_path / "p.toml"
    path.write_text(content)
    with pytest.raises(ValueError, match=message):
        read_presets(path)
    with pytest.raises(ValueError, match=message):
        add_preset(path, er_preset())
    assert path.read_text() == content


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(ValueError, match=r"absent.toml cannot be read as a file of presets: .*No such file"):
        read_presets(tmp_path / "absent.toml")
