"""The examples of the README and of the documentation run, and its links lead somewhere."""

import ast
import importlib.util
import json
import os
import pprint
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import jax
import pytest

import perdure
from perdure.learners.catalog import CATALOG
from perdure.representation.file import shipped_representations
from perdure.streams.catalog import BENCHMARKS

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
NOTEBOOKS = sorted((ROOT / "docs").rglob("*.ipynb"))
SHOWN = [
    *(ROOT / "docs" / "start").glob("*.md"),
    *(ROOT / "docs" / "coming-from").glob("*.md"),
    ROOT / "docs" / "checked.md",
]
"""Pages whose code comes to the texts that they show; `PERDURE_REWRITE_DOCS=1` writes what has changed."""
_NUMBER = r"\d+\.\d+"
PAGES_WITH_CODE = [page for page in PAGES if "```python" in page.read_text(encoding="utf-8") and page not in SHOWN]


@pytest.mark.long
@pytest.mark.parametrize("page", PAGES_WITH_CODE, ids=lambda page: page.name)
def test_examples_run(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # some write files
    blocks = re.findall(r"```python\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL)
    names = {"__name__": "example"}
    with jax.numpy_dtype_promotion("standard"):  # as users have it; optax's Adam mixes types
        for block in blocks:
            exec(compile(block, str(page), "exec"), names)


@pytest.mark.long
@pytest.mark.optimized
@pytest.mark.parametrize("page", SHOWN, ids=lambda page: f"{page.parent.name}-{page.stem}")
def test_pages_show_what_their_code_comes_to(page, tmp_path, monkeypatch, capsys):
    """Numbers of Python nearly; of commands, whose tables hold times, the words."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("PATH", str(Path(sys.executable).parent), prepend=os.pathsep)
    text = page.read_text(encoding="utf-8")
    names = {"__name__": "example"}
    for kind, code, shown in re.findall(r"```(python|console)\n(.*?)```(?:\n\n```text\n(.*?)```)?", text, re.DOTALL):
        if kind == "python":
            exec(compile(code, str(page), "exec"), names)
            printed = capsys.readouterr().out
        else:
            commands = [
                it.removeprefix("$ ") for it in code.replace("\\\n", "").splitlines() if it.startswith("$ perdure ")
            ]
            if page.stem == "teacher" or "mnist" in code:  # neither ends by itself or without MNIST
                continue
            printed = [
                subprocess.run(it, shell=True, capture_output=True, text=True, check=True).stdout for it in commands
            ]
            printed = printed[-1] if printed else ""
        printed = re.sub(r" +$", "", printed, flags=re.MULTILINE).lstrip("\n")
        if os.environ.get("PERDURE_REWRITE_DOCS") and shown:
            text = text.replace(f"```text\n{shown}```", f"```text\n{printed}```", 1)
        elif shown and kind == "python":
            assert_alike(printed, shown)
        elif shown:
            assert re.findall(r"[^\W\d]{2,}", shown) == re.findall(r"[^\W\d]{2,}", printed)
    if os.environ.get("PERDURE_REWRITE_DOCS"):
        page.write_text(text, encoding="utf-8")


@pytest.mark.long
@pytest.mark.optimized
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
    """Compare words exactly and numbers nearly, since the last digits depend on the processor.

    Intervals over few seeds, after ±, depend on them far more and are left out.
    """
    (words, numbers), (expected_words, expected_numbers) = (
        (re.split(_NUMBER, text), [float(it) for it in re.findall(_NUMBER, text)])
        for text in (re.sub(r"\s+", " ", re.sub(r"± \d+\.\d+", "±", it)) for it in (found, expected))
    )
    assert words == expected_words
    assert numbers == pytest.approx(expected_numbers, rel=0.05, abs=0.03)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page):
    for target in re.findall(r"\]\((?!https?:)([^)#]+)", page.read_text(encoding="utf-8")):
        made = "reference/" in target and (ROOT / "docs") in page.parents  # `make docs` finds what is wrong with these
        assert made or (page.parent / target).exists(), f"{page.name} links to {target}"


def test_own_learner_is_under_50_lines():
    page = (ROOT / "docs" / "own-learner.md").read_text(encoding="utf-8")
    block = re.findall(r"```python\n(.*?)```", page, re.DOTALL)[0]
    assert len(block.splitlines()) < 50


@pytest.fixture(scope="module")
def hooks():
    """The module that MkDocs loads, which needs nothing but perdure until a site is built."""
    spec = importlib.util.spec_from_file_location("site_hooks", ROOT / "docs" / "hooks.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_every_public_name_is_in_the_reference(hooks):
    text = "\n".join(hooks.reference_markdown(page) for page in hooks.reference_pages())
    shown = set(re.findall(r"^::: (\S+)$", text, re.MULTILINE))
    modules = hooks.public_modules()
    names = {f"{it.__name__}.{name}" for it in modules for name in it.__all__} - {"perdure.__version__"}
    assert names - {it.__name__ for it in modules} == shown


def test_every_public_name_has_a_docstring(hooks):
    names = [name for page in hooks.reference_pages() for name in page.names]
    assert [name for name in names if not hooks.docstring(name)] == []


def test_every_hyperparameter_is_in_the_reference(hooks):
    (page,) = [it for it in hooks.reference_pages() if it.file == "learners"]
    text = hooks.reference_markdown(page)
    assert "| `beta` | within-batch meta-rate β, of the Reptile step after each batch | number ≥ 0 |  |" in text
    assert (
        "| `memory_rule` | what the memory keeps: reservoir, ring, recent, balanced | a word | `'reservoir'` |" in text
    )
    assert "MER(\n    learning_rate,\n    memory_size," in text


@pytest.mark.parametrize(
    ("folder", "link", "found"),
    [
        ("docs", "metrics.md#a", "metrics.md#a"),
        ("docs", "../src/perdure/core.py", "R/blob/main/src/perdure/core.py"),
        ("docs", "../deploy", "R/tree/main/deploy"),
        ("docs", "../CONTRIBUTING.md", "contributing.md"),
        ("docs/start", "../../CHANGELOG.md#x", "../changelog.md#x"),
        ("docs/start", "../metrics.md", "../metrics.md"),
        ("", "docs/own-learner.md", "own-learner.md"),
        ("tests/reference", "ple/README.md", "R/blob/main/tests/reference/ple/README.md"),
        ("docs", "https://example.org/a.md", "https://example.org/a.md"),
        ("docs", "#here", "#here"),
    ],
)
def test_links_out_of_the_documentation_lead_to_a_page_or_the_repository(hooks, folder, link, found):
    assert hooks.outside(f"see [this]({link}).", ROOT / folder, "R") == f"see [this]({found})."


def test_navigation_names_pages_that_are_there_once(hooks):
    text = (ROOT / "mkdocs.yml").read_text(encoding="utf-8").partition("\nnav:\n")[2]
    named = re.findall(r"[\w./-]+\.(?:md|ipynb)", text)
    made = {f"reference/{page.file}.md" for page in hooks.reference_pages()} | {"reference/index.md"}
    assert len(named) == len(set(named))
    assert [
        it for it in named if not (ROOT / "docs" / it).exists() and it not in made | set(hooks.FROM_ELSEWHERE)
    ] == []
    assert made <= set(named)


def test_the_gallery_has_every_figure():
    gallery = (ROOT / "docs" / "gallery.md").read_text(encoding="utf-8")
    figures = [it for it in (ROOT / "docs" / "figures").iterdir() if it.suffix != ".svg"]
    assert [it.name for it in figures if f"figures/{it.name})" not in gallery] == []


def test_the_page_on_representations_lists_those_that_come_with_perdure():
    page = (ROOT / "docs" / "representations.md").read_text(encoding="utf-8")
    listed = re.findall(r"^\| `((?:omniglot|sine)[\w-]*)` ", page, re.MULTILINE)
    assert sorted(listed) == shipped_representations()


def test_the_repository_has_one_address(hooks):
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    address = project["project"]["urls"]["Repository"]
    readme = project["tool"]["hatch"]["metadata"]["hooks"]["fancy-pypi-readme"]["substitutions"]
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    for it in readme:
        text = re.sub(it["pattern"], it["replacement"], text)
    assert re.findall(r"\]\((?!https://|#)[^)]*", text) == []
    assert f"({address}/raw/main/docs/figures/teach.webp)" in text
    assert f"({address}/blob/main/docs/tuning.md)" in text
    assert all(it.startswith(address) for it in project["project"]["urls"].values())
    assert f"repository-code: {address}\n" in (ROOT / "CITATION.cff").read_text(encoding="utf-8")


def test_the_citation_is_of_this_version():
    assert f"\nversion: {perdure.__version__}\n" in (ROOT / "CITATION.cff").read_text(encoding="utf-8")


def test_the_readme_names_every_learner_and_benchmark():
    named = re.findall(r"`([a-z0-9+-]+…?)`", (ROOT / "README.md").read_text(encoding="utf-8"))
    families = tuple(it.removesuffix("…") for it in named if it.endswith("…"))
    assert [it for it in (*CATALOG, *BENCHMARKS) if it not in named and not it.startswith(families)] == []
