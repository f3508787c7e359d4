"""Settings that no model can have are refused before anything is written."""

import json
import subprocess
import sys
from typing import Any

import numpy as np
import pytest

from perdure.online.durable import DurableModel
from perdure.online.folder import JOURNAL
from perdure.online.settings import ModelSettings
from perdure.storage.files import StorageError


@pytest.mark.parametrize(
    ("given", "complaint"),
    [
        ({"hidden_sizes": (0,)}, r"hidden_sizes\[0\] is 0, expected a whole number from 1"),
        ({"hidden_sizes": (8, -1)}, r"hidden_sizes\[1\] is -1, expected"),
        ({"seed": -1}, "seed is -1, expected a whole number from 0 to 4,294,967,295"),
        ({"seed": 2**33}, "seed is 8589934592, expected"),
        ({"memory_size": 0}, "memory_size is 0, expected a whole number from 1"),
        ({"memory_size": 2**40}, "memory_size is 1099511627776, expected"),
        ({"memory_rule": "best"}, "memory_rule is 'best', expected one of reservoir, ring, recent, balanced"),
        ({"memory_rule": "balanced", "regression": True}, "memory_rule is 'balanced', which is for classes"),
        ({"method": "best"}, "method is 'best', expected"),
        ({"method": "slda", "regression": True}, "method is 'slda', which learns classes only"),
    ],
)
def test_a_refused_model_leaves_nothing_behind(tmp_path, given, complaint):
    with pytest.raises(ValueError, match=complaint):
        DurableModel.open(tmp_path / "above" / "m", **given)
    assert list(tmp_path.iterdir()) == []


WITHOUT_CHECKS_OF_TYPES = """
import json, sys
from pathlib import Path
import numpy as np
from perdure import ER, DurableModel
from perdure.online.settings import ModelSettings
found = {}
for given in (
    {"seed": 1.5}, {"seed": True}, {"seed": "1"}, {"memory_size": 10.5}, {"memory_size": None},
    {"hidden_sizes": ("a",)}, {"hidden_sizes": "ab"}, {"hidden_sizes": 5}, {"regression": 1}, {"standardize": "yes"},
    {"method": ER(0.1, 100, 10)},
):
    try:
        if None in given.values():
            ModelSettings(**given)
        else:
            DurableModel.open(Path(sys.argv[1], "m"), **given).close()
    except ValueError as cause:
        found[repr(given)[:30]] = str(cause)
kept = ModelSettings(
    memory_size=np.int64(7), seed=np.uint32(3), hidden_sizes=np.array([4, 5]), regression=np.bool_(True)
)
with DurableModel.open(Path(sys.argv[1], "taken"), method="er", memory_size=np.int64(7), hidden_sizes=[np.int32(4)]):
    pass
with DurableModel.open(Path(sys.argv[1], "taken"), memory_size=7, hidden_sizes=np.array([4])) as model:
    settings = model.settings.to_json()
print(json.dumps([found, kept.to_json(), settings]))
"""


def test_settings_of_other_types_are_refused_and_numbers_of_numpy_taken(tmp_path):
    """In a process of its own: the tests of this one check types before the settings do."""
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_CHECKS_OF_TYPES, tmp_path], capture_output=True, text=True, check=True
    )
    found, kept, settings = json.loads(done.stdout)
    assert [it.partition(",")[0] for it in found.values()][:-1] == [
        "seed is 1.5",
        "seed is True",
        "seed is '1'",
        "memory_size is 10.5",
        "memory_size is None",
        "hidden_sizes[0] is 'a'",
        "hidden_sizes is 'ab'",
        "hidden_sizes is 5",
        "regression is 1",
        "standardize is 'yes'",
    ]
    assert "a folder keeps the name of a method, not a learner" in list(found.values())[-1]
    assert [it.name for it in tmp_path.iterdir()] == ["taken"]
    assert (kept["memory_size"], kept["seed"], kept["hidden_sizes"], kept["regression"]) == (7, 3, [4, 5], True)
    assert (settings["memory_size"], settings["hidden_sizes"]) == (7, [4])


def test_settings_that_were_refused_leave_a_model_as_it_was(tmp_path):
    with DurableModel.open(tmp_path / "m", method="online", hidden_sizes=(2,)) as model:
        model.learn([{"a": 1.0}, {"a": 2.0}], ["p", "q"])
        faults: list[dict[str, Any]] = [{"memory_size": 0}, {"seed": -1}, {"hidden_sizes": (0,)}, {"method": "best"}]
        for given in faults:
            with pytest.raises(ValueError, match="expected"):
                model.adopt(**given)
        with pytest.raises(ValueError, match="memory_size is 0, expected"):
            DurableModel.open(tmp_path / "m", memory_size=0, read_only=True)
        with pytest.raises(StorageError, match="memory_size = 2000, but 30 was given; leave it out, or choose another"):
            DurableModel.open(tmp_path / "m", memory_size=30, read_only=True)
    with DurableModel.open(tmp_path / "m") as model:
        assert model.settings == ModelSettings("online", hidden_sizes=(2,))
    assert (tmp_path / "m" / JOURNAL).exists()


def test_numbers_of_numpy_are_the_same_settings():
    settings = ModelSettings(seed=3).changed(hidden_sizes=(int(np.int8(4)),))
    assert ModelSettings.of_json(json.loads(json.dumps(settings.to_json())), "it") == settings
