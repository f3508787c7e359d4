"""perdure compare: what is refused before anything is computed, and one comparison in whole."""

import pytest

from perdure.cli.compare import _names, _values


def test_a_benchmark_alone_means_the_default_methods():
    assert _names("digits-rotations", None) == (None, "digits-rotations")
    assert _names("er, mer,", "digits-rotations") == (["er", "mer"], "digits-rotations")


def test_values_are_read_by_their_kind():
    given = ["er.learning_rate=0.1", "er.memory-size=50", "er.memory_rule=ring"]
    assert _values(given) == {"er": {"learning_rate": 0.1, "memory_size": 50, "memory_rule": "ring"}}
    assert _values(["la-maml.second_order=true"]) == {"la-maml": {"second_order": True}}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "give a benchmark: "),
        (["er,mer"], "give a benchmark after er,mer: "),
        (["er", "digits-rotations", "--set", "er"], "--set is 'er', expected METHOD.NAME=VALUE"),
        (["er", "digits-rotations", "--set", "er.beta=1"], "but er has no beta; it has learning_rate"),
        (["er", "digits-rotations", "--set", "er.memory_size=2.5"], "expected a whole number after the equals sign"),
        (["er", "digits-rotations", "--set", "mer.beta=1"], "values are given for mer, not among the methods: er"),
        (["er", "digits-rotations", "--baseline", "mer"], "the baseline is mer, expected one of the methods: er"),
        (["er", "digits-rotations", "--evaluate-on", "5"], "--evaluate-on 5 is given without --evaluate-every"),
        (["er,no-such", "digits-rotations"], "unknown learner 'no-such'"),
    ],
)
def test_wrong_arguments_are_explained(typed, arguments, message, tmp_path):
    ended = typed("compare", *arguments, cwd=tmp_path)
    assert ended.returncode == 2
    assert message in ended.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.long
def test_a_comparison_from_the_command_line(perdure, tmp_path):
    arguments = ["compare", "online,er", "digits-rotations", "--tasks", 2, "--examples-per-task", 30, "--seeds", 2]
    first = perdure(*arguments, "--evaluate-every", 20, "--out", "both", cwd=tmp_path)
    assert first.returncode == 0, first.stderr
    assert "2 of 2" in first.stderr
    for name in ("results.md", "results.html", "figures/accuracy-over-time-digits-rotations.png"):
        assert (tmp_path / "both" / name).stat().st_size > 0
    again = perdure(*arguments, "--evaluate-every", 20, "--out", "both", "--quiet", cwd=tmp_path)
    assert again.stdout == first.stdout
    for command in (["report", "both"], ["resume", "both"], ["results", "."]):
        assert perdure(*command, cwd=tmp_path).returncode == 0
