"""What is measured goes between the marks of a page, and nowhere else."""

from pathlib import Path

import pytest

from tests.conftest import load_module

marked_block = load_module("marked_block", Path(__file__).parents[2] / "benchmarks" / "marked_block.py")
START, END = "<!-- measured -->", "<!-- end -->"


@pytest.mark.parametrize("between", ["", "\n\nNot measured yet.\n\n", "\n\n| a |\n| --- |\n\n"])
def test_what_stood_there_gives_way_and_the_rest_stays(tmp_path, between):
    path = tmp_path / "page.md"
    path.write_text(f"# Ä page\n\n{START}{between}{END}\n\nThe end.\n", encoding="utf-8")
    for text in ("first", "second"):
        marked_block.write_measured(path, text)
    assert path.read_text(encoding="utf-8") == f"# Ä page\n\n{START}\n\nsecond\n\n{END}\n\nThe end.\n"


@pytest.mark.parametrize("text", ["", START, END, f"{END} {START}"])
def test_a_page_without_marks_is_left_alone(tmp_path, text):
    path = tmp_path / "page.md"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ValueError, match=r"page\.md has no <!-- measured -->"):
        marked_block.write_measured(path, "figures")
    assert path.read_text(encoding="utf-8") == text


@pytest.mark.parametrize("name", ["service.md", "teach.md"])
def test_the_pages_have_their_marks(name):
    text = (Path(__file__).parents[2] / "docs" / name).read_text(encoding="utf-8")
    assert (text.count(START), text.count(END)) == (1, 1)
    assert text.index(START) < text.index(END)
