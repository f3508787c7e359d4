"""The page on the service: its commands and its example work, and its tables are those of the code."""

import re
import subprocess
from dataclasses import fields
from pathlib import Path

import pytest

from perdure.service.limits import Limits
from perdure.service.problems import KINDS

PAGE = (Path(__file__).parents[2] / "docs" / "service.md").read_text(encoding="utf-8")


def test_every_limit_and_every_problem_is_on_the_page():
    assert [it.name for it in fields(Limits) if f"`{it.name}`" not in PAGE] == []
    table = PAGE.partition("## Errors")[2].partition("## Limits")[0]
    own = {"bad-request", "not-found", "wrong-method", "failed"}
    assert [it for it in KINDS if f"`{it}`" not in table and it not in own] == []


def test_limits_are_those_of_the_page():
    table = PAGE.partition("| limit | default |")[2].partition("\n\n")[0]
    shown = {float(it.replace(",", "")) for row in table.splitlines()[2:] for it in row.split("|")[2].split(";")}
    assert {float(getattr(Limits(), it.name)) for it in fields(Limits)} == shown


@pytest.mark.long
def test_the_examples_of_the_page_work(tmp_path, processes, capsys):
    server = processes(tmp_path)
    address = server.url.removeprefix("http://")
    answers = []
    for block in re.findall(r"```sh\n(.*?)```", PAGE, re.DOTALL):
        command = block.replace("localhost:8000", address)
        answers.append(subprocess.run(command, shell=True, capture_output=True, text=True, check=True).stdout)
    assert '"position":2,"id":"m2","known":false,"prediction":"offers"' in answers[0]
    assert '"prediction":"work"' in answers[0]
    assert '"refused":[{"line":2,' in answers[1]
    (block,) = re.findall(r"```py\n(.*?)```", PAGE, re.DOTALL)
    names = {}
    exec(compile(block.replace("http://localhost:8000", server.url), "service.md", "exec"), names)
    names["client"].close()
    printed = capsys.readouterr().out.splitlines()
    assert printed[0] == "work"
    assert len(printed) == 3
