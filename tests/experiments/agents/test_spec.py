"""What a run of an agent may be."""

import pytest

from perdure.experiments.agents.spec import agent_spec
from perdure.rl.games.catcher import Catcher
from tests.hosted_corridor import AGENT


def specified(**changes):
    return agent_spec(AGENT, Catcher(), **{"levels": [Catcher.params(max_steps_in_episode=30)], **changes})


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"episodes": 0}, "episodes = 0, expected a whole number ≥ 1"),
        ({"evaluate_every": 0}, "evaluate_every = 0"),
        ({"episodes": "50"}, "episodes = '50', expected a whole number ≥ 1"),
        ({"evaluate_every": 25.0}, r"evaluate_every = 25\.0, expected a whole number ≥ 1"),
        ({"levels": [], "stages": [(0, 40)]}, "no levels"),
        ({"seeds": 0}, "expected a number of seeds ≥ 1"),
    ],
)
@pytest.mark.usefixtures("types_unchecked")
def test_what_cannot_be_run_is_refused(changes, words):
    with pytest.raises(ValueError, match=words):
        specified(**changes)
