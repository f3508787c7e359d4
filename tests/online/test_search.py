"""Examples page by page."""

import pytest

from perdure import DurableModel
from perdure.online import search
from perdure.online.search import find_examples


@pytest.fixture
def journal(tmp_path):
    with DurableModel.open(tmp_path / "m", method="nearest-mean") as model:
        names = ["Äpfel", "Offer 50%", "meeting", 'offer \\ "x"', "lunch"]
        for n in range(20):
            model.learn({"subject": names[n % 5], "n": n}, ["spam", "work"][n % 2], ids=f"m{n}")
        model.forget("m12")
        yield model._journal


def positions(page):
    return [it.position for it in page.examples]


def test_pages_lead_through_all_examples_the_newest_first(journal):
    found, before = [], None
    while True:
        page = find_examples(journal, before=before, limit=6)
        found += positions(page)
        before = page.before
        if before is None:
            break
    assert found == [n for n in range(20, 0, -1) if n != 13]


@pytest.mark.parametrize(
    ("sought", "expected"),
    [
        ({"text": "OFFER"}, [19, 17, 14, 12, 9, 7, 4, 2]),
        ({"text": "Äpfel"}, [16, 11, 6, 1]),
        ({"text": '\\ "x"'}, [19, 14, 9, 4]),
        ({"text": "50%"}, [17, 12, 7, 2]),
        ({"text": "spam", "label": "spam", "before": 4}, [3, 1]),
        ({"id": "m4"}, [5]),
        ({"id": "m12"}, []),
        ({"label": "nothing"}, []),
        ({"text": "' OR 1 = 1 --"}, []),
    ],
)
def test_what_is_sought(journal, sought, expected):
    assert positions(find_examples(journal, **sought)) == expected


def test_a_search_looks_at_so_many_positions_and_says_where_to_go_on(journal, monkeypatch):
    monkeypatch.setattr(search, "_SCANNED", 8)
    found, before, pages = [], None, 0
    while pages == 0 or before is not None:
        page = find_examples(journal, before=before, text="lunch")
        found += positions(page)
        before, pages = page.before, pages + 1
    assert (found, pages) == ([20, 15, 10, 5], 3)


ONES, ZEROS = [5, 4, 1], [6, 3]


@pytest.mark.parametrize(("label", "expected"), [(1, ONES), (True, ONES), (1.0, ONES), (0, ZEROS), (2.5, [2])])
def test_a_class_is_found_however_its_number_was_written(tmp_path, label, expected):
    with DurableModel.open(tmp_path / "m", method="nearest-mean") as model:
        for n, y in enumerate([1.0, 2.5, -0.0, True, 1, False]):
            model.learn({"n": n}, y)
        assert positions(find_examples(model._journal, label=label)) == expected
