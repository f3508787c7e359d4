"""The page where things go wrong: strange names, many classes, two tabs, a server that is killed, a token revoked."""

from __future__ import annotations

import pytest

from perdure.service.tokens import make_token, revoke_token
from tests.service.page.hand import PHONE, SYMBOLS, draw, drawing, expect, make_model, ring, teach, teach_over_http

KILLED = ("ERR_CONNECTION_REFUSED", "ERR_INCOMPLETE_CHUNKED", "ERR_CONNECTION_RESET", "ERR_EMPTY_RESPONSE", "503")


def width(page):
    return page.evaluate("document.documentElement.scrollWidth")


STRANGE = {
    "long": "ab" * 2500,
    "long without a break for emoji": "👩‍👩‍👧" * 400,
    "Hebrew": "שלום עולם",
    "Arabic": "(نجمة) *",
    "emoji": "🐌✨",
    "markup": "</script><svg onload=alert(1)>&amp;",
    "prototype": "__proto__",
    "lines": "one\ntwo\tthree",
    "override": "\u202eexe.txt",
}


@pytest.mark.long
def test_strange_names_are_shown_and_taught(open_page, post):
    teach_over_http(post, STRANGE.values(), method="mer")
    page = open_page(**PHONE)
    page.on("dialog", lambda it: pytest.fail(it.message))
    expect(page.locator(".tile")).to_have_count(len(STRANGE))
    shown = page.locator(".tile strong").evaluate_all("them => them.map((it) => it.textContent)")
    assert sorted(shown) == sorted(STRANGE.values())
    for part in ("draw", "memory", "numbers"):
        page.click(f".parts a[data-part={part}]")
        page.wait_for_timeout(1500)
        assert width(page) <= PHONE["viewport"]["width"], part
        assert page.locator("main img, main script, main svg[onload]").count() == 0
    page.click(".parts a[data-part=draw]")
    for name in (STRANGE["Hebrew"], STRANGE["emoji"], STRANGE["prototype"]):
        teach(page, name, ring())
        expect(page.locator("#toast")).to_contain_text("Learned as")
        expect(page.locator("#toast")).to_contain_text(name)
        expect(page.locator(".tile", has_text=name)).to_contain_text("2 drawings")
    draw(page, ring(0.3))
    longest = page.locator("#bars .bar").first
    expect(longest).to_be_visible()
    page.click(".parts a[data-part=memory]")
    page.locator("#journal button:has-text('Forget')").last.click()  # of the longest name
    assert page.locator("#ask-dialog").bounding_box()["height"] < 400
    page.click("#ask-ok")
    expect(page.locator("#memory-result")).to_contain_text("Forgotten for good")


@pytest.mark.long
@pytest.mark.parametrize(
    ("classes", "typed", "expected"), [([1.0, 2.0], "3.5", {1.0, 2.0, 3.5}), ([True, False], "false", {True, False})]
)
def test_classes_that_are_no_texts_are_taught_and_renamed(open_page, post, classes, typed, expected):
    teach_over_http(post, classes)
    page = open_page()
    draw(page, ring())
    best = page.locator("#bars .best")
    shown = best.locator(".bar-name").inner_text()
    best.click()
    expect(page.locator("#toast")).to_contain_text(f"Learned as “{shown}”. It had guessed right.")
    teach(page, typed, ring())
    expect(page.locator("#toast")).to_contain_text(f"Learned as “{typed}”")
    page.click(".parts a[data-part=memory]")
    page.locator("#journal :text('Rename')").last.click()
    page.fill("#ask-value", typed)
    page.click("#ask-ok")
    expect(page.locator("#memory-result")).to_contain_text(f"It is “{typed}” now")
    assert set(post("/v1/models/drawings/predict", {"x": drawing(1)})["classes"]) <= expected


@pytest.mark.long
def test_a_drawing_is_taught_when_its_model_is_loaded(open_page, post):
    teach_over_http(post, ["ring", "cross"])
    page = open_page(expect_errors=["503"])
    draw(page, ring())
    is_loading = True

    def still_loading(route):
        loading = {"models": [{"name": "drawings", "state": "loading", "examples": 0}]}
        route.fulfill(json=loading) if is_loading else route.continue_()

    page.route("**/v1/models", still_loading)
    page.route("**/events", lambda route: route.fulfill(status=503, headers={"Retry-After": "1"}))
    page.reload()
    expect(page.locator("#model-note")).to_contain_text("is being loaded")
    page.fill("#name", "ring")
    page.click("#teach")
    expect(page.locator("#teach-note")).to_contain_text("Your drawing is taught as soon as it is")
    is_loading = False
    expect(page.locator("#model-note")).to_be_hidden()
    expect(page.locator(".tile", has_text="ring")).to_contain_text("2 drawings")


@pytest.mark.long
def test_two_hundred_classes_are_shown(open_page, post):
    teach_over_http(post, [f"symbol {n}" for n in range(200)])
    page = open_page()
    expect(page.locator(".tile")).to_have_count(200)
    draw(page, ring())
    expect(page.locator("#bars .bar")).to_have_count(5)
    page.click(".parts a[data-part=numbers]")
    expect(page.locator("#recall .bar")).to_have_count(60)
    expect(page.locator("#recall")).to_contain_text("and 140 more")
    assert width(page) <= 1280


@pytest.mark.long
def test_two_tabs_teach_at_once_and_each_sees_what_the_other_taught(open_page):
    first = open_page()
    make_model(first)
    second = open_page()
    for turn in range(3):
        for page, (name, symbol) in zip((first, second), SYMBOLS.items(), strict=False):
            draw(page, symbol(turn / 2))
            page.fill("#name", name)
        for page in (first, second):
            page.click("#teach", no_wait_after=True)
        for page in (first, second):
            expect(page.locator("#clear")).to_be_disabled()
    for page in (first, second):
        for name in ("ring", "cross"):
            expect(page.locator(".tile", has_text=name)).to_contain_text("3 drawings")


@pytest.mark.long
def test_a_drawing_taught_while_the_server_is_killed_is_learned_once(open_page, site):
    page = open_page(expect_errors=KILLED)
    make_model(page)
    teach(page, "cross", SYMBOLS["cross"]())
    draw(page, ring())
    page.fill("#name", "ring")

    lost = []

    def lose(route):
        lost.append(route)
        if len(lost) == 1:
            route.fetch()  # it is learned, and no answer comes
            site.kill()
        route.abort("connectionreset")

    page.route("**/learn", lose)
    page.click("#teach")
    expect(page.locator("#connection")).to_contain_text("does not answer")
    expect(page.locator("#teach-note")).to_contain_text("Your drawing is kept")
    expect(page.locator("#clear")).to_be_enabled()
    page.unroute("**/learn")
    site.start()
    expect(page.locator("#connection")).to_be_hidden()
    page.click("#teach")
    expect(page.locator("#clear")).to_be_disabled()
    expect(page.locator(".tile", has_text="ring")).to_contain_text("1 drawing")
    assert "2 drawings" not in page.inner_text("#known")


@pytest.mark.long
def test_what_is_drawn_while_the_server_learns_is_the_next_drawing(open_page):
    page = open_page()
    make_model(page)
    held = []
    page.route("**/learn", lambda route: held.append(route))
    draw(page, SYMBOLS["cross"]())
    page.fill("#name", "cross")
    page.click("#teach")
    expect(page.locator("#teach")).to_be_disabled()
    draw(page, ring())
    held[0].continue_()
    expect(page.locator("#teach")).to_be_enabled()
    assert page.evaluate("JSON.parse(sessionStorage.getItem('perdure-strokes')).length") == 1
    expect(page.locator("#bars .best")).to_contain_text("cross")
    expect(page.locator(".tile", has_text="cross")).to_contain_text("1 drawing")


@pytest.mark.long
def test_a_reload_in_the_middle_of_a_stroke_keeps_the_strokes_before(open_page):
    page = open_page()
    make_model(page)
    draw(page, SYMBOLS["cross"]())
    box = page.locator("#canvas").bounding_box()
    page.mouse.move(box["x"] + 50, box["y"] + 50)
    page.mouse.down()
    page.mouse.move(box["x"] + 90, box["y"] + 120)
    page.reload()
    page.mouse.up()
    for _ in range(2):
        expect(page.locator("#stroke-back")).to_be_enabled()
        page.click("#stroke-back")
    expect(page.locator("#stroke-back")).to_be_disabled()


@pytest.mark.long
def test_a_token_that_is_revoked_is_asked_for_again_and_nothing_is_lost(open_page, site, post):
    teach_over_http(post, ["snail"])
    first = make_token(site.folder, "first", "learn")
    page = open_page(expect_errors=["401"])
    page.fill("#token", first)
    page.click("#token-form button[type=submit]")
    expect(page.locator(".tile")).to_have_count(1)
    draw(page, ring())
    make_token(site.folder, "other", "admin")
    revoke_token(site.folder, "first")
    other = make_token(site.folder, "second", "learn")
    draw(page, ring(0.3))  # what it thinks is asked for, and refused
    expect(page.locator("#token-error")).to_contain_text("not valid")
    page.fill("#token", other)
    page.click("#token-form button[type=submit]")
    expect(page.locator("#clear")).to_be_enabled()
    page.fill("#name", "ring")
    page.click("#teach")
    expect(page.locator(".tile", has_text="ring")).to_contain_text("1 drawing")


@pytest.mark.long
def test_who_may_only_read_is_told_so(open_page, site, post):
    teach_over_http(post, ["snail"])
    token = make_token(site.folder, "reader", "read")
    page = open_page(expect_errors=["401", "403"])
    page.fill("#token", token)
    page.click("#token-form button[type=submit]")
    expect(page.locator(".tile")).to_have_count(1)
    draw(page, ring())
    expect(page.locator("#bars .bar")).to_have_count(1)
    page.fill("#name", "ring")
    page.click("#teach")
    expect(page.locator("#toast")).to_contain_text("the role read, expected learn")
    expect(page.locator("#clear")).to_be_enabled()
    page.click("#new-model")
    page.click("#create-form button[type=submit]")
    expect(page.locator("#create-error")).to_contain_text("expected admin")
