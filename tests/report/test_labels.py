"""Runs that share a name are told apart by what differs."""

from io import StringIO

import pytest
from rich.console import Console

from perdure.records.learner import RunRecord
from perdure.report.names import name_among
from perdure.report.tables import comparison_table

ADAM = {"name": "optax._src.alias.adam"}
MOMENTUM = {"partial": {"name": "optax._src.alias.sgd"}, "arguments": {"momentum": 0.9}}


def record(tmp_path, folder, rate=0.1, seeds=(0,), network="benchmark_mlp", fields=None, **options):
    config = {
        "learner": {"name": "online", "hyperparameters": {"learning_rate": rate}, "fields": fields or {}},
        "benchmark": {"name": "digits-rotations", "options": options},
        "model": {"name": network},
        "seeds": list(seeds),
    }
    return RunRecord(tmp_path / folder, config, None, None, None, None, None)


@pytest.mark.parametrize(
    ("one", "other", "names"),
    [
        ({"rate": 0.01}, {"rate": 0.05}, ["online, learning rate 0.01", "online, learning rate 0.05"]),
        ({"tasks": 3}, {"tasks": 5}, ["online, tasks 3", "online, tasks 5"]),
        ({"network": "a"}, {"network": "b"}, ["online, network a", "online, network b"]),
        (
            {},
            {"network": "benchmark_mlp(hidden_sizes=(64, 32))"},
            ["online, network benchmark_mlp", "online, network of 64-32 hidden units"],
        ),
        ({}, {"fields": {"optimizer": ADAM}}, ["online", "online, optimizer adam"]),
        (
            {"fields": {"optimizer": MOMENTUM}},
            {"fields": {"optimizer": ADAM}},
            ["online, optimizer sgd (momentum 0.9)", "online, optimizer adam"],
        ),
        ({}, {}, ["first", "second"]),
    ],
)
def test_a_run_is_named_by_what_differs(tmp_path, one, other, names):
    records = [record(tmp_path, "first", **one), record(tmp_path, "second", **other)]
    assert [name_among(it, records) for it in records] == names


def test_a_single_run_has_its_plain_name(tmp_path):
    only = record(tmp_path, "first")
    assert name_among(only, [only]) == "online"


def test_the_table_tells_them_apart(tmp_path):
    records = [record(tmp_path, "first", rate=0.01), record(tmp_path, "second", rate=0.05)]
    text = StringIO()
    console = Console(file=text, width=100)
    console.print(comparison_table(records))
    assert "learning rate 0.01" in text.getvalue()
    assert "learning rate 0.05" in text.getvalue()


def test_rows_that_would_look_the_same_have_the_names_of_folders(tmp_path):
    text = StringIO()
    Console(file=text, width=100).print(comparison_table([record(tmp_path, it) for it in ("first", "second")]))
    assert "first" in text.getvalue()
    assert "second" in text.getvalue()
