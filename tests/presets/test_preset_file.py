"""Files of own presets."""

import contextlib
import tomllib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perdure.experiments.supervised.plan import choose_learner
from perdure.learners.er import ER
from perdure.presets.file import add_preset, read_presets
from perdure.presets.learners import Preset, Published, load_presets, presets_in
from perdure.storage.reading import ContentError


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
GROUP = '[[group]]\nsource = "s"\nlearner = "er"\n'
PLACE = r"p\.toml, group 1"
DAMAGED = {
    "no TOML": ("group = [", r"p\.toml cannot be read as TOML"),
    "no UTF-8": (b"\xff\xfe", r"p\.toml cannot be read as TOML"),
    "empty": ("", r"p\.toml has no 'group', expected a list"),
    "no group": ("group = 3", r"p\.toml, 'group' is 3, expected a list"),
    "no groups": ("group = []", r"p\.toml, 'group' is an empty list"),
    "odd group": ("group = [3]", f"{PLACE} is 3, expected a table"),
    "no learner": (f'[[group]]\nsource = "s"\n{ROW}', f"{PLACE} has no 'learner', expected a text"),
    "no source": (f'[[group]]\nlearner = "er"\n{ROW}', f"{PLACE} has no 'source', expected a text"),
    "odd source": (f'[[group]]\nlearner = "er"\nsource = 3\n{ROW}', f"{PLACE}, 'source' is 3, expected a text"),
    "no presets": (GROUP, f"{PLACE} has no 'presets', expected a list"),
    "odd presets": (f"{GROUP}presets = [3]", f"{PLACE}, preset 1 is 3, expected a table"),
    "no benchmark": (f"{GROUP}presets = [{{}}]", f"{PLACE}, preset 1 has no 'benchmark', expected a text"),
    "text for a rate": (
        f'{GROUP}presets = [{{ benchmark = "x" }}, {{ benchmark = "x", learning_rate = "0.1" }}]',
        f"{PLACE}, preset 2, 'learning_rate' is '0.1', expected a number",
    ),
    "a list for a rate": (
        f'{GROUP}presets = [{{ benchmark = "x", learning_rate = [0.1] }}]',
        f"{PLACE}, preset 1, 'learning_rate' is a list of length 1, expected a number",
    ),
    "memory": (
        f'{GROUP}presets = [{{ benchmark = "x", memory_size = 5.5 }}]',
        f"{PLACE}, preset 1, 'memory_size' is 5.5, expected a whole number",
    ),
    "huge memory": (
        f'{GROUP}presets = [{{ benchmark = "x", memory_size = 0x{"f" * 9999} }}]',
        f"{PLACE}, preset 1, 'memory_size' is a whole number of 39996 bits, expected a number of at most 64 bits",
    ),
    "figure": (
        f'{GROUP}presets = [{{ benchmark = "x", retained_accuracy = [70.0] }}]',
        f"{PLACE}, preset 1, 'retained_accuracy' has 1 numbers, expected a mean and a standard deviation",
    ),
    "odd figure": (
        f'{GROUP}presets = [{{ benchmark = "x", retained_accuracy = 70.0 }}]',
        f"{PLACE}, preset 1, 'retained_accuracy' is 70.0, expected a list",
    ),
    "options": (
        f'{GROUP}presets = [{{ benchmark = "x", options = 3 }}]',
        f"{PLACE}, preset 1, 'options' is 3, expected a table",
    ),
    "deep lists": ("group = " + "[" * 9000, r"p\.toml is nested more than 32 levels deep"),
    "deep tables": ("a = " + "{b = " * 9000, r"p\.toml is nested more than 32 levels deep"),
    "deep keys": ("a" + ".b" * 20000 + " = 1", r"p\.toml is nested more than 32 levels deep"),
    "deep headers": ("[a" + ".b" * 20000 + "]", r"p\.toml is nested more than 32 levels deep"),
    "large": ("# " + "x" * 1_000_001, r"p\.toml is larger than 1,000,000 bytes"),
}


@pytest.mark.parametrize("name", DAMAGED)
def test_what_is_no_file_of_presets_is_refused_and_stays(tmp_path, name):
    content, message = DAMAGED[name]
    path = tmp_path / "p.toml"
    content = content if isinstance(content, bytes) else content.encode()
    path.write_bytes(content)
    with pytest.raises(ValueError, match=message):
        read_presets(path)
    with pytest.raises(ValueError, match=message):
        add_preset(path, er_preset())
    assert path.read_bytes() == content


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(ValueError, match=r"absent\.toml cannot be read: No such file.*; give a file of presets that"):
        read_presets(tmp_path / "absent.toml")


def test_a_byte_order_mark_is_passed_over(tmp_path):
    add_preset(tmp_path / "p.toml", er_preset())
    expected = read_presets(tmp_path / "p.toml")
    (tmp_path / "p.toml").write_bytes(b"\xef\xbb\xbf" + (tmp_path / "p.toml").read_bytes())
    assert read_presets(tmp_path / "p.toml") == expected


_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)


@given(
    st.lists(st.sampled_from(["group", 0, "presets", "learner", "options"]), max_size=4), st.text(max_size=9), _values
)
def test_whatever_a_file_holds_the_error_is_a_content_error(path, key, value):
    row = {"benchmark": "x", "learning_rate": 0.1, "memory_size": 5, "options": {}, "retained_accuracy": [1.0, 2.0]}
    content = {"group": [{"learner": "er", "source": "s", "presets": [row]}]}
    place = content
    for step in path:
        try:
            place = place[step]  # pyright: ignore[reportArgumentType]
        except (KeyError, IndexError, TypeError):
            break
    if isinstance(place, dict):
        place[key] = value
    elif isinstance(place, list):
        place.append(value)
    for name in row.keys() & {key}:
        row[name] = value
    with contextlib.suppress(ContentError):
        presets_in(content)
