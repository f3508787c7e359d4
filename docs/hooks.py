"""What MkDocs does beside rendering the pages of this folder; `mkdocs.yml` names this file.

* Pages of the reference are made from the public modules, so that no public name is left out.
* Changelog, contributing guide and the description of the recorded runs become pages too.
* Links that lead out of this folder lead to the repository.
* Pages that the navigation does not name yet stand under *More*.

The address of the repository stands in pyproject.toml.
"""

from __future__ import annotations

import ast
import dataclasses
import inspect
import math
import os
import re
import tomllib
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
REFERENCE = "reference"
FROM_ELSEWHERE = {
    "changelog.md": "CHANGELOG.md",
    "contributing.md": "CONTRIBUTING.md",
    "recorded-runs.md": "tests/reference/README.md",
}
"""Pages of the site that are files of the repository outside of docs/."""

SECTIONS = {
    "learners": ("learners", "Learners"),
    "experiments": ("experiments", "Experiments"),
    "online": ("online", "Online models"),
    "client": ("online", "Online models"),
    "streams": ("streams", "Streams"),
}
"""The page of the reference on which a top name stands, by the package that it comes from; all others: `OTHERS`."""
OTHERS = ("contract", "Contract, records and errors")


class ReferencePage(NamedTuple):
    """A page of the reference: its file, its title, what stands above the names, and the names, dotted."""

    file: str
    title: str
    introduction: str
    names: list[str]


def repository() -> str:
    """Return the address of the repository that pyproject.toml names."""
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["urls"]["Repository"]


# Reference


def public_modules() -> list[ModuleType]:
    """Return `perdure` and the public modules in it."""
    perdure = import_module("perdure")
    found = [getattr(perdure, name) for name in perdure.__all__]
    return [perdure, *(it for it in found if inspect.ismodule(it))]


def reference_pages() -> list[ReferencePage]:
    """Return the pages of the reference; every public name stands on one of them under each module that has it."""
    top, *modules = public_modules()
    sections = {file: ReferencePage(file, title, "", []) for file, title in [*SECTIONS.values(), OTHERS]}
    for name in sorted(top.__all__, key=str.lower):
        value = getattr(top, name)
        if not inspect.ismodule(value) and name != "__version__":
            package = value.__module__.split(".")[1]
            sections[SECTIONS.get(package, OTHERS)[0]].names.append(f"perdure.{name}")
    return [
        *sections.values(),
        *(
            ReferencePage(
                it.__name__.rpartition(".")[2],
                f"`{it.__name__}`",
                inspect.getdoc(it) or "",
                [f"{it.__name__}.{name}" for name in sorted(it.__all__, key=str.lower)],
            )
            for it in modules
        ),
    ]


def reference_markdown(page: ReferencePage) -> str:
    """Return a page of the reference as Markdown for mkdocstrings."""
    blocks = [f"# {page.title}", page.introduction]
    for name in page.names:
        value = public(name)
        learner = inspect.isclass(value) and any(hyperparameters_of(value))
        # What learners do is said once, of the contract; what is to be said of each are its hyper-parameters.
        blocks.append(f"::: {name}" + ("\n    options:\n      members: false" if learner else ""))
        if inspect.isclass(value) and dataclasses.is_dataclass(value):
            blocks.append(call(value))
        if learner:
            blocks.append(hyperparameter_table(value))
    return "\n\n".join(it for it in blocks if it) + "\n"


def call(value: type) -> str:
    """Return how a class whose fields are its arguments is called, as a block of code."""
    signature = inspect.signature(value)
    plain = [it.replace(annotation=inspect.Parameter.empty) for it in signature.parameters.values()]
    text = str(signature.replace(parameters=plain, return_annotation=inspect.Signature.empty))
    if len(text) > 70:
        text = "(\n    " + text[1:-1].replace(", ", ",\n    ") + ",\n)"
    return f"```py\n{value.__name__}{text}\n```"


def hyperparameters_of(value: type) -> list[Any]:
    """Return the hyper-parameters that a class declares, if it does."""
    if not issubclass(value, import_module("equinox").Module):
        return []
    return import_module("perdure.learners.hyperparameters").hyperparameters(value)


def hyperparameter_table(value: type) -> str:
    """Return the hyper-parameters of a learner or an agent as a table."""
    fields = {it.name: it for it in dataclasses.fields(value)}
    lines = ["| hyper-parameter | what it is | values | default |", "| --- | --- | --- | --- |"]
    for it in hyperparameters_of(value):
        given = fields[it.name].default
        default = "" if given is dataclasses.MISSING else f"`{given!r}`"
        lines.append(f"| `{it.name}` | {it.help.replace('|', chr(92) + '|')} | {values(it)} | {default} |")
    return "\n".join(lines)


def values(it: Any) -> str:
    """Return which values a hyper-parameter takes, in words."""
    if it.kind is bool:
        return "yes or no"
    if it.options:
        return "a word"
    kind = "number" if it.kind is float else "whole number"
    return f"{kind} ≥ {it.minimum:g}" if math.isinf(it.maximum) else f"{kind}, {it.minimum:g} to {it.maximum:g}"


def reference_index(pages: list[ReferencePage]) -> str:
    """Return the first page of the reference: every public name with the first line of its docstring."""
    lines = ["# Reference", "Every public name. What is not here is internal and may change in any version.", ""]
    for page in pages:
        lines += [f"## {page.title}", "", "| name | what it is |", "| --- | --- |"]
        lines += [f"| [`{name}`][{name}] | {first_line(name)} |" for name in page.names]
        lines.append("")
    return "\n".join(lines)


def first_line(dotted: str) -> str:
    """Return the first line of what the docstring of a public name says, for a cell of a table."""
    return (docstring(dotted).split("\n\n")[0]).replace("\n", " ").replace("|", "\\|")


def docstring(dotted: str) -> str:
    """Return the docstring of a public name; of an alias or a number, the text below it in its source."""
    value = public(dotted)
    if inspect.isclass(value) or inspect.isfunction(value):
        return inspect.cleandoc(value.__doc__ or "")
    module, _, name = dotted.rpartition(".")
    while True:  # to where the name is defined
        body = ast.parse(Path(import_module(module).__file__ or "").read_text(encoding="utf-8")).body
        for statement, below in zip(body, [*body[1:], None], strict=True):
            if isinstance(statement, ast.Assign) and ast.unparse(statement.targets[0]) == name:
                text = below.value if isinstance(below, ast.Expr) else None
                return inspect.cleandoc(text.value) if isinstance(text, ast.Constant) else ""
        sources = [it.module for it in body if isinstance(it, ast.ImportFrom) and name in {n.name for n in it.names}]
        if not sources:
            return ""
        (module,) = sources


def public(dotted: str) -> Any:
    """Return what a public name, dotted, stands for."""
    module, _, name = dotted.rpartition(".")
    return getattr(import_module(module), name)


# Links


def outside(markdown: str, folder: Path, address: str) -> str:
    """Return `markdown` of a page in `folder` with the links that leave docs/ leading to a page or the repository."""
    pages = {(ROOT / source).resolve(): page for page, source in FROM_ELSEWHERE.items()}

    def lead(match: re.Match[str]) -> str:
        path, _, anchor = match[1].partition("#")
        target = (folder / path).resolve()
        suffix = f"#{anchor}" if anchor else ""
        if target in pages:
            page = pages[target]
            return f"]({os.path.relpath(DOCS / page, folder) if folder.is_relative_to(DOCS) else page}{suffix})"
        if target.is_relative_to(DOCS):
            # What stands elsewhere becomes a page of the first level.
            return match[0] if folder.is_relative_to(DOCS) else f"]({target.relative_to(DOCS).as_posix()}{suffix})"
        kind = "tree" if target.is_dir() else "blob"
        return f"]({address}/{kind}/main/{target.relative_to(ROOT).as_posix()}{suffix})"

    return re.sub(r"\]\((?![a-z]+:|#)([^)\s]+)\)", lead, markdown)


# Events of MkDocs


def on_config(config):
    """Take the address of the repository from pyproject.toml, and add pages that the navigation does not name."""
    config.repo_url = repository()
    config.repo_name = config.repo_url.rpartition("github.com/")[2]
    config.edit_uri = "edit/main/docs/"
    named = set(re.findall(r"[\w./-]+\.(?:md|ipynb)", str(config.nav)))
    found = [it.relative_to(DOCS).as_posix() for it in sorted([*DOCS.rglob("*.md"), *DOCS.rglob("*.ipynb")])]
    if missing := [it for it in found if it not in named]:
        config.nav.append({"More": missing})
    return config


def on_files(files, config):
    """Add the pages that are made here."""
    from mkdocs.structure.files import File

    pages = reference_pages()
    made = {f"{REFERENCE}/{page.file}.md": reference_markdown(page) for page in pages}
    made[f"{REFERENCE}/index.md"] = reference_index(pages)
    for page, source in FROM_ELSEWHERE.items():
        path = ROOT / source
        made[page] = outside(path.read_text(encoding="utf-8"), path.parent, config.repo_url)
    for name, content in made.items():
        files.append(File.generated(config, name, content=content))
    return files


def on_page_markdown(markdown, page, config, files):
    """Turn links that leave docs/ into links to the repository."""
    if page.file.generated_by is not None:
        return markdown
    return outside(markdown, (DOCS / page.file.src_uri).parent, config.repo_url)
