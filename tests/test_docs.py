"""The examples of the README and of the documentation run, and its links lead somewhere."""

import ast
import json
import pprint
import re
from pathlib import Path

import jax
import pytest

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
NOTEBOOKS = sorted((ROOT / "docs").glob("*.ipynb"))
_NUMBER = r"\d+\.\d+"
PAGES_WITH_CODE = [page for page in PAGES if "```python" in page.read_text(encoding="utf-8")]


@pytest.mark.long
@pytest.mark.parametrize("page", PAGES_WITH_CODE, ids=lambda page: page.name)
def test_examples_run(page):
    blocks = re.findall(r"```python\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL)
    names = {"__name__": "example"}
    with jax.numpy_dtype_promotion("standard"):  # as users have it; optax's Adam mixes types
        for block in blocks:
            exec(compile(block, str(page), "exec"), names)


@pytest.mark.long
@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda page: page.name)
def test_notebooks_come_to_the_texts_that_they_show(notebook, capsys):
    """Cell after cell, as IPython runs them: the value of a last expression is shown."""
    names = {"__name__": "__main__"}
    for cell in json.loads(notebook.read_text(encoding="utf-8"))["cells"]:
        if cell["cell_type"] != "code":
            continue
        module = ast.parse("".join(cell["source"]))
        last = module.body[-1]
        if isinstance(last, ast.Expr):
            module.body.pop()
        exec(compile(module, notebook.name, "exec"), names)
        if isinstance(last, ast.Expr):
            value = eval(compile(ast.Expression(last.value), notebook.name, "eval"), names)
            if value is not None and _shown(cell, "execute_result"):
                assert_alike(pprint.pformat(value, sort_dicts=False), _shown(cell, "execute_result"))
        assert_alike(capsys.readouterr().out, _shown(cell, "stream"))


def _shown(cell, kind):
    """Return the text of a cell's outputs of a kind."""
    outputs = [it for it in cell["outputs"] if it["output_type"] == kind]
    return "".join("".join(it["text"] if kind == "stream" else it["data"]["text/plain"]) for it in outputs)


def assert_alike(found, expected):
    """Compare words exactly and numbers nearly, since the last digits depend on the processor."""
    (words, numbers), (expected_words, expected_numbers) = (
        (re.split(_NUMBER, re.sub(r"\s+", " ", text)), [float(it) for it in re.findall(_NUMBER, text)])
        for text in (found, expected)
    )
    assert words == expected_words
    assert numbers == pytest.approx(expected_numbers, rel=0.05, abs=0.03)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page):
    for target in re.findall(r"\]\((?!https?:)([^)#]+)", page.read_text(encoding="utf-8")):
        assert (page.parent / target).exists(), f"{page.name} links to {target}"


def test_own_learner_is_under_50_lines():
    page = (ROOT / "docs" / "own-learner.md").read_text(encoding="utf-8")
    block = re.findall(r"```python\n(.*?)```", page, re.DOTALL)[0]
    assert len(block.splitlines()) < 50
