"""The page in a real browser, on a real server."""

from __future__ import annotations

import ast
import json

import pytest

from perdure.service.tokens import make_token
from tests.service.page.hand import PHONE, SYMBOLS, draw, expect, make_model, ring, teach

PARTS = ("draw", "race", "table", "memory", "numbers")


def teach_symbols(page, times=3):
    for turn in range(times):
        for name, symbol in SYMBOLS.items():
            teach(page, name, symbol(turn / 2))
    for name in SYMBOLS:
        expect(page.locator(".tile", has_text=name)).to_contain_text(f"{times} drawing")


def expect_recognised(page):
    for name, symbol in SYMBOLS.items():
        draw(page, symbol(0.8))
        expect(page.locator("#bars .best .bar-name")).to_have_text(name)
        page.click("#clear")


def test_one_drawing_is_learned_and_kept_across_a_reload(open_page):
    page = open_page()
    make_model(page)
    expect(page.locator("#bars-note")).to_contain_text("It knows nothing yet")
    teach(page, "ring", ring())
    expect(page.locator("#toast")).to_contain_text("Learned as “ring”.")
    page.reload()
    expect(page.locator(".tile")).to_contain_text("1 drawing")


@pytest.mark.long
def test_three_symbols_are_recognised_after_a_reload_and_after_the_server_was_killed(open_page, site):
    page = open_page(expect_errors=["ERR_CONNECTION_REFUSED", "ERR_INCOMPLETE_CHUNKED", "ERR_CONNECTION_RESET", "503"])
    make_model(page)
    teach_symbols(page)
    page.reload()
    expect_recognised(page)
    site.kill()
    expect(page.locator("#connection")).to_contain_text("does not answer")
    site.start()
    expect(page.locator("#connection")).to_be_hidden()
    expect_recognised(page)


@pytest.mark.long
def test_a_drawing_that_is_not_taught_yet_outlives_a_reload(open_page):
    page = open_page()
    make_model(page)
    draw(page, ring())
    page.reload()
    expect(page.locator("#clear")).to_be_enabled()
    page.click("#stroke-back")
    expect(page.locator("#clear")).to_be_disabled()


@pytest.mark.long
def test_what_was_taught_is_undone_from_the_message(open_page):
    page = open_page()
    make_model(page)
    teach(page, "ring", ring())
    teach(page, "mistake", SYMBOLS["cross"]())
    expect(page.locator(".tile")).to_have_count(2)
    page.click("#toast button:has-text('Undo')")
    expect(page.locator("#toast")).to_contain_text("Forgotten")
    expect(page.locator(".tile")).to_have_count(1)
    expect(page.locator(".tile")).to_contain_text("ring")


@pytest.mark.long
def test_an_answer_is_taught_by_pressing_it(open_page):
    page = open_page()
    make_model(page)
    teach(page, "ring", ring())
    draw(page, ring(0.5))
    page.click("#bars button:has-text('ring')")
    expect(page.locator(".tile")).to_contain_text("2 drawings")


@pytest.mark.long
def test_names_are_texts_and_never_markup(open_page):
    page = open_page()
    make_model(page)
    name = "<img src=x onerror=alert(1)> & “quotes”"
    teach(page, name, ring())
    expect(page.locator(".tile strong")).to_have_text(name)
    page.goto(page.url.replace("#/draw", "#/memory"))
    expect(page.locator("#journal .label")).to_have_text(name)
    assert page.locator("main img").count() == 0


@pytest.mark.long
def test_the_picture_looks_like_those_of_the_data_set(open_page):
    page = open_page()
    make_model(page)
    draw(page, [[(0.05, 0.05), (0.15, 0.1), (0.1, 0.2), (0.05, 0.05)]])  # small, in a corner
    sums = page.evaluate(
        """async () => {
            const { picture } = await import("/page/ink.js");
            const strokes = JSON.parse(sessionStorage.getItem("perdure-strokes"));
            return Array.from(picture(strokes));
        }"""
    )
    rows = [sums[28 * n : 28 * n + 28] for n in range(28)]
    used = [n for n, row in enumerate(rows) if max(row) > 60]
    columns = [n for n in range(28) if max(row[n] for row in rows) > 60]
    assert 200 < max(sums) <= 255
    for places in (used, columns):  # in the middle, with a margin
        assert places[0] >= 3
        assert places[-1] <= 24
        assert abs(places[0] + places[-1] - 27) <= 2
    assert used[-1] - used[0] >= 14


@pytest.mark.long
def test_the_keyboard_alone_draws_names_and_teaches(open_page):
    page = open_page()
    make_model(page)
    page.reload()
    expect(page.locator("#canvas")).to_be_visible()
    page.keyboard.press("Tab")
    expect(page.locator(".skip")).to_be_focused()
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    expect(page.locator("#canvas")).to_be_focused()
    page.keyboard.press("Space")
    for key in ("ArrowRight", "ArrowDown", "ArrowLeft"):
        for _ in range(3):
            page.keyboard.press(f"Shift+{key}")
    page.keyboard.press("Space")
    for _ in range(12):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.id") == "name":
            break
    page.keyboard.type("corner")
    page.keyboard.press("Enter")
    expect(page.locator(".tile")).to_contain_text("corner")


@pytest.mark.long
def test_a_finger_draws_on_a_phone_and_no_part_is_wider_than_it(open_page):
    page = open_page(**PHONE)
    make_model(page)
    box = page.locator("#canvas").bounding_box()
    touches = page.context.new_cdp_session(page)
    points = [{"x": box["x"] + x * box["width"], "y": box["y"] + y * box["height"]} for x, y in ring()[0]]
    touches.send("Input.dispatchTouchEvent", {"type": "touchStart", "touchPoints": points[:1]})
    for point in points[1:]:
        touches.send("Input.dispatchTouchEvent", {"type": "touchMove", "touchPoints": [point]})
    touches.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})
    page.fill("#name", "ring")
    page.click("#teach")
    expect(page.locator(".tile")).to_contain_text("ring")
    draw(page, ring(0.5))
    best = page.locator("#bars .best")
    expect(best).to_contain_text("100\u00a0%")
    page.wait_for_timeout(500)  # until all that was drawn is answered
    boxes = [page.locator(it).first.bounding_box() for it in ("#bars .best", ".parts", ".bar-value", "#toast button")]
    assert boxes[0]["y"] + boxes[0]["height"] < boxes[1]["y"]  # seen while one draws, above the navigation
    assert boxes[2]["height"] < 30  # on one line
    assert boxes[3]["height"] < 48
    for part in PARTS:
        page.click(f".parts a[data-part={part}]")
        expect(page.locator(f"#{part}")).to_be_visible()
        page.wait_for_timeout(500)
        assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["viewport"]["width"], part


@pytest.mark.long
def test_the_race_shows_that_one_forgets_and_the_other_does_not(open_page):
    page = open_page("#/race")
    page.locator("#race-speed").fill("200")
    page.click("#race-step")
    expect(page.locator("#race-now")).to_contain_text("Now learning: 0")
    page.reload()  # and it goes on where it was
    expect(page.locator("#race-play")).to_have_text("Go on")
    page.click("#race-play")
    expect(page.locator("#race-play")).to_have_text("Pause")
    from playwright.sync_api import expect as patient

    patient(page.locator("#race-end")).to_contain_text("Of the zeros", timeout=900_000)
    zeros = [
        int(it.inner_text().rstrip(" %")) for it in page.locator("#race-charts figure").first.locator(".end").all()
    ]
    assert zeros[1] - zeros[0] >= 15
    page.select_option("#race-first", "nearest-mean")
    expect(page.locator("#race-scores")).to_contain_text("nearest-mean")
    page.click("#race-play")
    expect(page.locator("#race-play")).not_to_have_text("Pause")


@pytest.mark.long
def test_the_methods_that_race_are_those_chosen_last(open_page):
    page = open_page("#/race")
    expect(page.locator("#race-first")).to_have_value("online")
    held, stepped = [], []
    page.route("**/v1/races", lambda route: held.append(route), times=1)
    page.on("request", lambda it: stepped.append(it.url) if it.url.endswith("/step") else None)
    with page.expect_request("**/v1/races"):
        page.select_option("#race-first", "nearest-mean")
    page.select_option("#race-second", "lda")

    def answer_about(method):
        return page.expect_response(lambda it: method in (it.request.post_data or ""))

    with answer_about("mer") as first, answer_about("lda") as second:
        held[0].continue_()
    ended, raced = first.value.json()["id"], second.value.json()
    assert [it["method"] for it in raced["methods"]] == ["nearest-mean", "lda"]
    expect(page.locator("#race-now")).to_contain_text("Now learning")
    assert all(raced["id"] in it for it in stepped)
    assert page.request.get(f"{page.url.partition('#')[0]}v1/races/{ended}").status == 404


@pytest.mark.long
def test_the_journal_is_searched_corrected_and_forgotten(open_page, post):
    post("/v1/models", {"name": "mail", "method": "nearest-mean"})
    examples = [{"x": {"length": float(n), "from": f"p{n}"}, "y": "ab"[n % 2], "id": f"m{n}"} for n in range(60)]
    post("/v1/models/mail/learn", {"examples": examples})
    page = open_page("#/memory")
    rows = page.locator("#journal li")
    expect(rows).to_have_count(24)
    page.click("#older")
    expect(rows).to_have_count(48)
    page.fill("#search", "p17")
    page.press("#search", "Enter")
    expect(rows).to_have_count(1)
    page.click("#journal button:has-text('Rename')")
    page.fill("#ask-value", "c")
    page.click("#ask-ok")
    expect(page.locator("#memory-result")).to_contain_text("It is “c” now")
    expect(page.locator("#journal .label")).to_have_text("c")
    page.click("#journal button:has-text('Forget')")
    page.click("#ask-dialog [data-close]")
    expect(rows).to_have_count(1)
    page.click("#journal button:has-text('Forget')")
    page.click("#ask-ok")
    expect(page.locator("#memory-result")).to_contain_text("exactly the one that never saw it, bit for bit")
    expect(page.locator("#journal-empty")).to_have_text("Nothing was found.")
    page.fill("#search", "")
    page.press("#search", "Enter")
    expect(page.locator("#journal-count")).to_have_text("59 examples")
    page.click("#undo")
    expect(page.locator("#journal-count")).to_have_text("58 examples")
    page.locator("#past").fill("0")
    expect(page.locator("#past-then")).to_contain_text("It knew nothing yet")
    expect(page.locator("#past-now .bar").first).to_be_visible()
    checked = page.locator("#backtest-methods input:checked")
    while checked.count():
        checked.first.uncheck()
    page.check("#backtest-methods input[value=nearest-mean]")
    page.click("#backtest-form button[type=submit]")
    expect(page.locator("#backtest-result .bar")).to_contain_text("nearest-mean")
    assert page.locator("#backtest-chart svg").count() == 1


@pytest.mark.long
def test_numbers_are_downloaded_and_lines_of_code_copied(open_page, post, site):
    post("/v1/models", {"name": "mail", "method": "nearest-mean"})
    for n in range(4):
        post("/v1/models/mail/learn", {"x": {"length": float(n % 2)}, "y": "ab"[n % 2], "id": f"m{n}"})
    page = open_page("#/numbers", permissions=["clipboard-read", "clipboard-write"])
    expect(page.locator("#stats")).to_contain_text("examples known")
    with page.expect_download() as download:
        page.click("#save-numbers")
    numbers = json.loads(download.value.path().read_text())
    assert (numbers["name"], numbers["examples"]) == ("mail", 4)
    with page.expect_download() as download:
        page.click("#save-model")
    assert download.value.suggested_filename == "mail.safetensors"
    page.click("[aria-label='Copy: Ask, with curl']")
    copied = page.evaluate("navigator.clipboard.readText()")
    assert copied.startswith(f"curl {site.address}/v1/models/mail/predict")
    assert '"length":' in copied


@pytest.mark.long
def test_python_that_is_copied_says_what_was_learned(open_page, post):
    x = {"sent": True, "spam": False, "size": -1.5, "gone": None, 'a "quote":null': 'é:true\n":null'}
    post("/v1/models", {"name": "mail", "method": "nearest-mean", "allow_missing": True})
    post("/v1/models/mail/learn", {"x": x, "y": True, "id": "m0"})
    page = open_page("#/numbers", permissions=["clipboard-read", "clipboard-write"])
    page.click("[aria-label='Copy: Python']")
    lines = page.evaluate("navigator.clipboard.readText()").splitlines()
    learned = next(it for it in lines if it.startswith("model.learn_one"))
    row, label = ast.literal_eval(learned.removeprefix("model.learn_one"))
    assert (row, label) == (x, True)
    assert lines[-1] == f"print(model.predict_one({learned.removeprefix('model.learn_one(').removesuffix(', True)')}))"


@pytest.mark.long
def test_lines_of_code_are_those_of_the_model_shown(open_page, post):
    for name in ("a", "b"):
        post("/v1/models", {"name": name, "method": "nearest-mean"})
        post(f"/v1/models/{name}/learn", {"x": {f"from {name}": 1.0}, "y": name})
    page = open_page("#/race/a", expect_errors=["500"])
    expect(page.locator("#model")).to_have_value("a")
    code, held = page.locator("#snippets"), []
    page.route("**/a/examples?*", lambda route: held.append(route), times=1)
    with page.expect_request("**/a/examples?*"):
        page.click(".parts a[data-part=numbers]")
    page.select_option("#model", "b")
    expect(code).to_contain_text("from b")
    with page.expect_response("**/a/examples?*") as late:
        held[0].continue_()
    late.value.finished()
    page.evaluate("null")  # what the page does with the answer is done
    expect(code).to_contain_text("from b")
    page.route("**/a/examples?*", lambda route: route.fulfill(status=500), times=1)
    page.select_option("#model", "a")
    expect(code).to_contain_text("/models/a/")
    expect(code).not_to_contain_text("from")
    page.click(".parts a[data-part=race]")
    page.click(".parts a[data-part=numbers]")
    expect(code).to_contain_text("from a")


@pytest.mark.long
def test_figures_are_drawn_for_the_width_that_they_get_and_no_line_twice(open_page, post):
    post("/v1/models", {"name": "mail", "method": "nearest-mean"})
    for n in range(4):
        post("/v1/models/mail/learn", {"x": {"length": float(n % 2)}, "y": "ab"[n % 2], "id": f"m{n}"})
    page = open_page("#/numbers")
    expect(page.locator("#curve")).to_have_text("Teach the model while this page is open, and a curve will grow here.")
    post("/v1/models/mail/learn", {"x": {"length": 1.0}, "y": "b"})
    expect(page.locator("#curve polyline")).to_be_visible()
    for width in (1280, 390, 800):
        page.set_viewport_size({"width": width, "height": 844})
        page.wait_for_timeout(500)
        curve, tick = (page.locator(it).first.bounding_box() for it in ("#curve svg", "#curve .tick"))
        assert 11 <= tick["height"] <= 18
        assert curve["width"] <= width
    expect(page.locator("#curve polyline")).to_have_count(1)  # the last 500 are all of them
    expect(page.locator("#curve .key")).to_have_text(["so far"])
    names = page.evaluate(
        """async () => {
            const { showLines } = await import("/page/chart.js");
            const place = document.getElementById("curve"), points = [[1, 0], [2, 1]];
            const series = [["one", points], ["two", [[1, 1]]], ["three", points.map((it) => [...it])]];
            showLines(place, series.map(([name, points]) => ({ name, points, kind: "plain" })), { label: "" });
            return [...place.querySelectorAll(".key")].map((it) => it.textContent);
        }"""
    )
    assert names == ["one and three", "two"]


@pytest.mark.long
def test_the_page_asks_for_a_token_and_keeps_it_in_this_tab_alone(open_page, site, post):
    post("/v1/models", {"name": "mail", "method": "nearest-mean"})
    token = make_token(site.folder, "me", "admin")
    page = open_page("#/memory", expect_errors=["401"])
    page.fill("#token", "perdure_wrong")
    page.click("#token-form button[type=submit]")
    expect(page.locator("#token-error")).to_contain_text("not valid")
    page.fill("#token", token)
    page.click("#token-form button[type=submit]")
    expect(page.locator("#journal-empty")).to_have_text("Nothing has been learned yet.")
    stored = page.evaluate("[Object.values(sessionStorage), Object.values(localStorage), document.cookie]")
    assert token in stored[0]
    assert stored[1:] == [[], ""]
    page.reload()
    expect(page.locator("#journal-empty")).to_be_visible()


@pytest.mark.long
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_nothing_keeps_people_out(open_page, axe, post, scheme):
    page = open_page(color_scheme=scheme, scripts=[axe])
    make_model(page)
    assert violations(page) == []
    teach(page, "ring", ring())
    draw(page, ring(0.5))
    expect(page.locator("#bars .best")).to_be_visible()
    for part in PARTS:
        page.click(f".parts a[data-part={part}]")
        expect(page.locator(f"#{part}")).to_be_visible()
        page.wait_for_timeout(1500)
        assert violations(page) == [], part
    page.click("#new-model")
    assert violations(page) == [], "the dialog"


def violations(page):
    found = page.evaluate("async () => (await axe.run()).violations")
    return [f"{it['id']}: {it['help']} {[node['html'][:120] for node in it['nodes'][:4]]}" for it in found]
