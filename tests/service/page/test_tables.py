"""Tables on the page, in a real browser, on a real server."""

from __future__ import annotations

import pytest

from tests.service.page.hand import expect, make_model


def csv_file(tmp_path):
    lines = ["height,colour,kind"]
    for n in range(300):
        tall = n % 2 == 1
        lines.append(f"{n % 7 + 3 * tall}," + ("red,tall" if tall else '"blue, light",short'))
    lines[40] = "1,red"
    lines[250] = "high,red,tall"
    lines[252] = "1,blue"
    path = tmp_path / "shapes.csv"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


@pytest.mark.long
def test_a_table_is_learned_and_its_bad_rows_are_shown(open_page, tmp_path):
    page = open_page("#/table")
    make_model(page, "table", "er")
    page.set_input_files("#file", csv_file(tmp_path))
    expect(page.locator("#preview th")).to_have_count(3)
    assert page.input_value("#label") == "kind"
    page.click("#table-start")
    expect(page.locator("#table-status")).to_contain_text("Done: 297 rows learned")
    errors = page.locator("#table-errors")
    expect(errors).to_contain_text("Row 40: it has 2 values, expected 3")
    expect(errors).to_contain_text("Row 250: ")
    expect(errors).to_contain_text("'high', expected a number")
    rows = [it.partition(": ") for it in errors.locator("li").all_inner_texts()]
    assert [row for row, _, _ in rows] == ["Row 40", "Row 250", "Row 252"]
    assert rows[1][2].startswith("column 'height' is")
    expect(page.locator("#table-classes li")).to_have_count(2)
    assert page.locator("#table-chart svg").get_attribute("aria-label").startswith("Right answers")
    page.click("#table-start")  # once more: nothing is learned twice
    expect(page.locator("#table-status")).to_contain_text("297 rows had been learned before")
    page.click(".parts a[data-part=numbers]")
    expect(page.locator("#stats")).to_contain_text("297")
    expect(page.locator("#recall .bar")).to_have_count(2)


@pytest.mark.long
def test_commas_quotes_and_lines_within_quotes_are_read(open_page):
    page = open_page()
    text = 'a;b\r\n"x;1";"say ""yes"""\r\n\r\n"two\nlines";\n1;2'
    rows = page.evaluate(
        """async (text) => {
            const { CsvParser, separatorOf } = await import("/page/csv.js");
            const parser = new CsvParser(separatorOf(text));
            return [...text].flatMap((it) => parser.push(it)).concat(parser.finish());
        }""",
        text,
    )
    assert rows == [["a", "b"], ["x;1", 'say "yes"'], ["two\nlines", ""], ["1", "2"]]


def read(page, text):
    """Return the rows that the page reads of a text, one character at a time."""
    return page.evaluate(
        """async (text) => {
            const csv = await import("/page/csv.js");
            const separator = csv.separatorOf(text), parser = new csv.CsvParser(separator);
            const rows = [...text].flatMap((it) => parser.push(it)).concat(parser.finish());
            const [names, ...values] = rows, decimal = csv.decimalOf(separator, values);
            const numeric = csv.numberColumns(names, values, decimal);
            return values.map((row) => row.map((it, n) => csv.valueOf(it, numeric[n], decimal)));
        }""",
        text,
    )


@pytest.mark.long
def test_numbers_and_what_is_missing_are_found(open_page):
    page = open_page()
    assert read(page, "a;b\n1,5;x\n2,25;y z\n;\n") == [[1.5, "x"], [2.25, "y z"], [None, None]]
    assert read(page, "a;b\n1.5;1,5\n2;x\n") == [[1.5, "1,5"], [2, "x"]]
    assert read(page, "a,b\n 1 ,NA\nn/a,NA\n?,c\nNaN,\n") == [[1, "NA"], [None, "NA"], [None, "c"], [None, None]]
    assert read(page, "a\tb\r\n1e3\tx\r\n-2\ty") == [[1000, "x"], [-2, "y"]]
    wrong = "\n".join(["a,b", *(f"{n},x" for n in range(19)), "none of it,x"])
    assert read(page, wrong)[-1] == ["none of it", "x"]  # and the server says which row it is


@pytest.mark.long
@pytest.mark.parametrize(
    ("encoding", "mark"), [("utf-8", b"\xef\xbb\xbf"), ("utf-16-le", b"\xff\xfe"), ("cp1252", b""), ("utf-8", b"")]
)
def test_files_as_other_programs_write_them_are_learned(open_page, tmp_path, encoding, mark):
    lines = ["größe;preis;art"]
    lines += [f"{n % 5},5;{n};{'Möwe' if n % 2 else 'Tür'}" for n in range(80)]
    lines[7] = ";6;Möwe"
    lines[9] = "3,5;8;"
    path = tmp_path / "möwen.csv"
    path.write_bytes(mark + "\r\n".join(lines).encode(encoding))
    page = open_page("#/table")
    make_model(page, "table", "er")
    page.set_input_files("#file", path)
    expect(page.locator("#preview th").first).to_have_text("größenumber")
    page.click("#table-start")
    expect(page.locator("#table-status")).to_contain_text("Done: 79 rows learned")
    expect(page.locator("#table-errors")).to_contain_text("Row 9: it has no art")
    expect(page.locator("#table-classes")).to_contain_text("Möwe")


@pytest.mark.long
@pytest.mark.parametrize(("n_zeros", "last"), [(0, "yé"), (2000, "y\ufffd")])  # the second is longer than what decides
def test_a_last_row_that_ends_in_another_encoding_is_learned(open_page, tmp_path, post, n_zeros, last):
    post("/v1/models", {"name": "m", "method": "nearest-mean"})
    path = tmp_path / "last.csv"
    lines = ["a,b", *[f"1.{'0' * n_zeros},x"] * 149, "2,yé"]
    path.write_bytes("\n".join(lines).encode("cp1252"))
    page = open_page("#/table")
    page.set_input_files("#file", path)
    page.click("#table-start")
    expect(page.locator("#table-status")).to_contain_text("Done: 150 rows learned")
    expect(page.locator("#table-classes")).to_contain_text(last)


@pytest.mark.long
def test_a_row_that_was_corrected_within_a_long_file_is_learned(open_page, tmp_path, post):
    post("/v1/models", {"name": "m", "method": "nearest-mean"})
    path, page = tmp_path / "long.csv", open_page("#/table")
    lines = ["a,b", *[f"1.{'0' * 1000},x"] * 150]

    def learn():
        path.write_text("\n".join(lines))
        page.set_input_files("#file", path)
        page.click("#table-start")

    status = page.locator("#table-status")
    learn()
    expect(status).to_have_text("Done: 150 rows learned.")
    lines[75] = lines[75].replace("x", "y")
    learn()
    expect(status).to_have_text("Done: 1 row learned. 149 rows had been learned before and were passed over.")
    learn()
    expect(status).to_have_text("Done: 0 rows learned. 150 rows had been learned before and were passed over.")


@pytest.mark.long
def test_a_file_that_is_given_before_the_models_are_known_is_learned(open_page, tmp_path):
    path = tmp_path / "sizes.csv"
    path.write_text("size,kind\n" + "".join(f"{n % 5},{'big' if n % 5 > 2 else 'small'}\n" for n in range(40)))
    page = open_page("#/table")
    make_model(page, "table", "er")
    held = []
    page.route("**/v1/models", lambda route: held.append(route))
    page.reload()
    page.set_input_files("#file", path)
    expect(page.locator("#preview th").first).to_have_text("sizenumber")
    assert held
    page.unroute("**/v1/models")  # those that were held continue
    page.click("#table-start")
    expect(page.locator("#table-status")).to_contain_text("Done: 40 rows learned")


@pytest.mark.long
def test_numbers_are_predicted_by_a_model_for_numbers(open_page, tmp_path, post):
    path = tmp_path / "prices.csv"
    path.write_text(
        "size,rooms,kind,price\n" + "".join(f"{n % 40},{n % 4},flat,{1.5 * (n % 40)}\n" for n in range(300))
    )
    page = open_page("#/table")
    make_model(page, "table", "er")
    page.set_input_files("#file", path)
    expect(page.locator("#table-hint")).to_contain_text("each number would be a class of its own")
    page.select_option("#label", "rooms")
    expect(page.locator("#table-hint")).to_be_hidden()
    page.select_option("#label", "price")
    page.click("#table-hint button")
    expect(page.locator("#create-target input[value=numbers]")).to_be_checked()
    page.click("#create-form button[type=submit]")
    expect(page.locator("#model")).to_have_value("prices")
    expect(page.locator("#table-hint")).to_be_hidden()
    page.select_option("#label", "kind")
    expect(page.locator("#table-hint")).to_contain_text("“kind” holds texts")
    expect(page.locator("#table-start")).to_be_disabled()
    page.select_option("#label", "price")
    page.click("#table-start")
    expect(page.locator("#table-status")).to_contain_text("Done: 300 rows learned")
    expect(page.locator("#table-stats")).to_contain_text("mean error so far")
    expect(page.locator("#table-classes-part")).to_be_hidden()
    assert page.locator("#table-chart svg").get_attribute("aria-label").startswith("Mean error: ")
    assert isinstance(
        post("/v1/models/prices/predict", {"x": {"size": 20, "rooms": 0, "kind": "flat"}})["prediction"], float
    )


@pytest.mark.long
def test_whole_numbers_are_the_classes_that_they_are_to_other_programs(open_page, tmp_path, post):
    """So that a model can be taught by the page and by a program; names that look like numbers stay names."""
    for name, classes in (("floors", ["0", "-1"]), ("rooms", ["007", "12"])):
        path = tmp_path / f"{name}.csv"
        path.write_text("height,place\n" + "".join(f"{n % 2},{classes[n % 2]}\n" for n in range(40)))
        page = open_page("#/table")
        post("/v1/models", {"name": name, "method": "nearest-mean"})
        page.reload()
        page.select_option("#model", name)
        page.set_input_files("#file", path)
        page.click("#table-start")
        expect(page.locator("#table-status")).to_contain_text("Done: 40 rows learned")
    assert sorted(post("/v1/models/floors/predict", {"x": {"height": 0}})["classes"]) == [-1, 0]
    assert sorted(post("/v1/models/rooms/predict", {"x": {"height": 0}})["classes"]) == ["007", "12"]
    post("/v1/models/floors/learn", {"x": {"height": 1}, "y": -1})


@pytest.mark.long
def test_a_table_of_other_columns_gets_a_model_of_its_own(open_page, tmp_path, post):
    post("/v1/models", {"name": "mail", "method": "nearest-mean"})
    post("/v1/models/mail/learn", {"x": {"length": 3.0}, "y": "work"})
    path = tmp_path / "shapes.csv"
    path.write_text("height,kind\n1,short\n9,tall\n")
    page = open_page("#/table")
    page.set_input_files("#file", path)
    expect(page.locator("#table-hint")).to_contain_text("“mail” has learned other columns: length.")
    page.click("#table-hint button")
    assert page.input_value("#create-name") == "shapes"


NO_TABLES = {
    "": "it has no rows",
    "a,b\n": "it has no rows",
    "a\n1\n": "it has one column only",
    "a,b,a\n1,2,3\n": "two columns are called “a”",
}


@pytest.mark.long
def test_files_that_are_no_tables(open_page, tmp_path):
    page = open_page("#/table")
    make_model(page, "table", "er")
    for number, (text, why) in enumerate(NO_TABLES.items()):
        path = tmp_path / f"no-{number}.csv"
        path.write_text(text)
        page.set_input_files("#file", path)
        expect(page.locator("#toast")).to_contain_text(f"no-{number}.csv: {why}")
        expect(page.locator("#table-body")).to_be_hidden()


@pytest.fixture
def long_file(tmp_path):
    path = tmp_path / "long.csv"
    path.write_text("a,b,kind\n" + "".join(f"{n % 50},{n % 7},{'xyz'[n % 3]}\n" for n in range(50_000)))
    return path


@pytest.mark.long
def test_a_long_file_is_stopped_and_learned_on(open_page, long_file):
    page = open_page("#/table")
    make_model(page, "table", "lda")
    page.set_input_files("#file", long_file)
    page.click("#table-start")
    expect(page.locator("#table-status")).to_contain_text("so far…")
    before = page.evaluate("performance.now()")
    page.click(".parts a[data-part=numbers]")  # the page stays at hand meanwhile
    expect(page.locator("#stats")).to_contain_text("examples a second")
    page.click(".parts a[data-part=table]")
    assert page.evaluate("performance.now()") - before < 5000
    page.click("#table-pause")
    expect(page.locator("#table-pause")).to_have_text("Go on")
    page.click("#table-stop")
    expect(page.locator("#table-status")).to_contain_text("Stopped after")
    learned = int("".join(filter(str.isdigit, page.inner_text("#table-status").split(" row")[0])))
    assert 0 < learned < 50_000
    page.click("#table-start")
    from playwright.sync_api import expect as patient

    patient(page.locator("#table-status")).to_contain_text("had been learned before", timeout=600_000)
    words = page.inner_text("#table-status").replace(",", "").split()
    assert int(words[1]) + int(words[4]) == 50_000
    assert int(words[4]) >= learned


@pytest.mark.long
def test_a_busy_server_is_waited_for(open_page, tmp_path):
    path = tmp_path / "shapes.csv"
    path.write_text("height,kind\n" + "".join(f"{n % 9},{'ab'[n % 2]}\n" for n in range(100)))
    page = open_page("#/table", expect_errors=["429"])
    make_model(page, "table", "er")
    page.set_input_files("#file", path)
    refusals = [
        {"status": 429, "headers": {"Retry-After": "1"}, "json": {"type": "urn:perdure:problem:queue-full"}},
        {"status": 200, "body": '{"problem": {"status": 503, "type": "urn:perdure:problem:no-answer"}}\n'},
    ]
    page.route("**/learn", lambda route: route.fulfill(**refusals.pop()) if refusals else route.continue_())
    page.click("#table-start")
    expect(page.locator("#table-status")).to_contain_text("The server is busy. Waiting…")
    expect(page.locator("#table-status")).to_contain_text("Done: 100 rows learned.")
