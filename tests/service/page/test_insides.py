"""Memory and history of drawings, in a real browser, on a real server."""

from __future__ import annotations

import pytest

from tests.service.page.hand import SYMBOLS, expect, make_model, teach, teach_over_http


@pytest.mark.long
def test_the_memory_shows_its_drawings_and_the_past_answers(open_page):
    page = open_page()
    make_model(page, method="mer")
    for turn in range(2):
        for name, symbol in SYMBOLS.items():
            teach(page, name, symbol(turn / 2))
    page.click(".parts a[data-part=memory]")
    held = page.locator("#held li")
    expect(held).to_have_count(6)
    expect(page.locator("#held canvas")).to_have_count(6)
    expect(page.locator("#inside-note")).to_contain_text("6 of at most 2,000 examples")
    expect(held.first).to_contain_text("zigzag")
    expect(page.locator("#past-example canvas")).to_be_visible()
    page.locator("#past").fill("1")
    expect(page.locator("#past-then .bar")).to_have_count(1)
    expect(page.locator("#past-then")).to_contain_text("ring")
    expect(page.locator("#past-now .bar")).to_have_count(3)
    page.locator("#journal button:has-text('Forget')").first.click()
    page.click("#ask-ok")
    expect(page.locator("#memory-result")).to_contain_text("bit for bit. That took")
    expect(held).to_have_count(5)
    for name in ("mer", "online"):
        page.uncheck(f"#backtest-methods input[value={name}]")
    for name in ("nearest-mean", "lda"):
        page.check(f"#backtest-methods input[value={name}]")
    page.click("#backtest-form button[type=submit]")
    expect(page.locator("#backtest-result .bar")).to_have_count(2)
    assert "nearest-mean" in page.locator("#backtest-chart svg").get_attribute("aria-label")


@pytest.mark.long
def test_a_long_memory_is_shown_page_by_page(open_page, post):
    teach_over_http(post, ["ab"[n % 2] for n in range(110)], method="er", memory_size=100)
    page = open_page("#/memory")
    held = page.locator("#held li")
    expect(held).to_have_count(48)
    page.click("#held-more")
    expect(held).to_have_count(96)
    page.click("#held-more")
    expect(held).to_have_count(100)
    expect(page.locator("#held-more")).to_be_hidden()
    positions = [int(it) for it in page.locator("#held .at").all_inner_texts()]
    assert positions == sorted(set(positions), reverse=True)


@pytest.mark.long
def test_a_memory_of_rows_is_no_longer_than_the_journal_beside_it(open_page, post):
    post("/v1/models", {"name": "table", "method": "er", "memory_size": 100})
    post("/v1/models/table/learn", {"examples": [{"x": {"length": float(n)}, "y": "ab"[n % 2]} for n in range(20)]})
    page = open_page("#/memory")
    held = page.locator("#held li")
    expect(held).to_have_count(8)
    page.click("#held-more")
    expect(held).to_have_count(16)


@pytest.mark.long
def test_experts_have_memories_of_their_own_and_closed_forms_have_none(open_page, post):
    post("/v1/models", {"name": "auto", "method": "nearest-mean"})
    post("/v1/models/auto/learn", {"x": {"length": 1.0}, "y": "a"})
    teach_over_http(post, ["snail"])
    inside = {"experts": {}, "method": "auto", "memory": {"size": 20, "filled": 3, "classes": []}}
    row = {"id": None, "learned_at": 0.0, "y": "a"}
    named = {
        "replay of 20": [3, 2, 1],
        "replay of the last 2": [3, 2],
    }  # as `auto` answers, which takes long to compile

    def answer(route):
        name = "replay of the last 2" if "last" in route.request.url else "replay of 20"
        memories = [{"name": it, "rule": "ring", "size": 20, "filled": len(held)} for it, held in named.items()]
        examples = [{**row, "position": it, "x": {"from": f"p{it}"}} for it in named[name]]
        route.fulfill(json={"memories": memories, "memory": name, "examples": examples, "before": None})

    page = open_page()
    page.route("**/auto/inside", lambda route: route.fulfill(json=inside))
    page.route("**/auto/memory?**", answer)
    page.goto(page.url.partition("#")[0] + "#/memory/auto")
    held = page.locator("#held li")
    expect(held).to_have_count(3)
    expect(page.locator("#inside-note")).to_contain_text("this expert goes through again")
    page.select_option("#memory-name", "replay of the last 2")
    expect(held).to_have_count(2)
    expect(held.first).to_contain_text("from p3")
    page.select_option("#model", "drawings")
    expect(page.locator("#inside-note")).to_contain_text("keeps no examples")
    expect(held).to_have_count(0)
    expect(page.locator("#memory-choice")).to_be_hidden()


@pytest.mark.long
def test_only_the_model_that_was_asked_about_forgets(open_page, post):
    for name in ("a", "b"):
        post("/v1/models", {"name": name, "method": "nearest-mean"})
        post(f"/v1/models/{name}/learn", {"x": {"length": 1.0}, "y": f"of {name}", "id": "e1"})
    page = open_page("#/memory/b")
    label, forget, dialog = (page.locator(it) for it in ("#journal .label", "#journal :text('Forget')", "#ask-dialog"))
    expect(label).to_have_text("of b")
    page.select_option("#model", "a")
    expect(label).to_have_text("of a")
    forget.click()
    expect(dialog).to_be_visible()
    page.go_back()
    expect(label).to_have_text("of b")
    expect(dialog).to_be_hidden()
    page.go_forward()
    expect(label).to_have_text("of a")
    held = []
    page.route("**/forget", lambda route: held.append(route))
    forget.click()
    page.click("#ask-ok")
    expect(dialog).to_be_hidden()
    page.go_back()
    expect(label).to_have_text("of b")
    with page.expect_response("**/a/forget") as forgotten:
        held[0].continue_()
    forgotten.value.finished()
    page.evaluate("null")  # what the page does with the answer is done
    expect(page.locator("#memory-result")).to_be_hidden()
    expect(label).to_have_text("of b")


@pytest.mark.long
def test_what_a_file_still_holds_is_told(open_page, post):
    teach_over_http(post, ["snail", "ring"])
    page = open_page("#/memory")
    left = {"forgot": {"y": "ring"}, "erased": False, "detail": "its content is still in a journal", "seconds": 0.1}
    page.route("**/undo", lambda route: route.fulfill(json=left))
    page.click("#undo")
    expect(page.locator("#memory-result")).to_contain_text("But mind: its content is still in a journal.")
