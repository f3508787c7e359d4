"""The written page in a real browser, from a file: tables sort, and nothing is cut off on a phone."""

import pytest

from perdure.report.blocks import Heading, Paragraph, Table
from perdure.report.html import html_page
from tests.service.page.conftest import browser  # noqa: F401

ROWS = [["b", "10.5 ± 0.1"], ["a", "–"], ["c", "-3.0"], ["d", "1,200"]]
TABLE = Table(
    ["name", "x", *(f"column {n}" for n in range(12))],
    [[*row, *(["0.123 ± 0.456"] * 12)] for row in ROWS],
    (0,),
    commands=["perdure run er digits-rotations --learning-rate 0.1 --memory-size 200 --seeds 10", *[None] * 3],
)


@pytest.mark.long
def test_tables_sort_by_mouse_and_keyboard_and_scroll_by_themselves(browser, tmp_path):  # noqa: F811
    path = tmp_path / "page.html"
    path.write_text(html_page([Heading(1, "Title"), Paragraph("text"), TABLE]), encoding="utf-8")
    page = browser.new_page(viewport={"width": 390, "height": 800})
    wrong = []
    page.on("pageerror", lambda error: wrong.append(error))
    page.goto(path.as_uri())

    def order():
        return "".join(page.locator("tbody tr td:first-child").all_inner_texts())

    page.locator("th button").nth(1).click()
    assert order() == "dbca"  # largest first, what has no value last
    assert page.locator("th").nth(1).get_attribute("aria-sort") == "descending"
    page.keyboard.press("Enter")  # the button has the focus
    assert order() == "cbda"
    assert page.locator("th").nth(1).get_attribute("aria-sort") == "ascending"
    page.locator("th button").first.press("Space")
    assert order() == "abcd"
    assert page.locator("th[aria-sort]").count() == 1
    page.locator("summary").click()
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    assert page.evaluate("(it => it.scrollWidth > it.clientWidth)(document.querySelector('.wide'))")
    page.locator("button.copy").click()
    assert wrong == []
    page.close()
