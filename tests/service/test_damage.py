"""A full disk and damaged files: what cannot be taught can still be asked, and others go on."""

import shutil
import sqlite3
import time

import pytest

from perdure import Client
from perdure.core import PerdureWarning
from perdure.online.folder import JOURNAL


def bloated(server, n):
    return server.post("/m/learn", {"examples": [{"x": {"a": 1.0, "c": "x" * 3_000}, "y": "up"}] * n})


def test_a_full_disk_is_told_and_predictions_go_on(server, problem):
    """As the database meets it: SQLite is given no more pages."""
    server.learn({"a": 1.0, "c": "x"}, "up")
    connection = server.context.models.find("m")._teacher._durable._journal._connection
    (pages,) = connection.execute("PRAGMA page_count").fetchone()
    connection.execute(f"PRAGMA max_page_count = {pages}")
    answer = bloated(server, 40)
    problem(answer, 507, "disk-full", detail="database or disk is full; what was acknowledged before is kept")
    assert "retry-after" in answer.headers
    before = server.post("/m/predict", {"x": {"a": 1.0}}).json()
    assert (before["prediction"], before["position"]) == ("up", 1)
    problem(bloated(server, 1), 507, "disk-full")
    connection.execute("PRAGMA max_page_count = 1000000")
    time.sleep(1.1)
    assert bloated(server, 2).json()["position"] == 3
    assert server.http.get("/readyz").json() == {"status": "ready", "models": {"m": "ready"}}


def test_predictions_go_on_where_none_can_be_kept_for_feedback(server):
    server.learn({"a": 1.0}, "up")
    kept = server.context.models.find("m").predictions
    (pages,) = kept._connection.execute("PRAGMA page_count").fetchone()
    kept._connection.execute(f"PRAGMA max_page_count = {pages}")
    answers = [server.post("/m/predict", {"x": {"a": 1.0, "c": "x" * 3_000}}).json() for _ in range(20)]
    assert {it["prediction"] for it in answers} == {"up"}
    assert answers[-1]["prediction_id"] is None


def damage(folder):
    connection = sqlite3.connect(folder / JOURNAL)
    connection.execute("""UPDATE examples SET y = '"sideways"' WHERE position = 2""")
    connection.commit()
    connection.close()


@pytest.fixture
def two(serving, tmp_path):
    with serving() as server:
        for name in ("m", "other"):
            server.make(name)
            for n in range(4):
                server.learn({"a": float(n)}, "low" if n < 2 else "high", name=name)
    return tmp_path / "models"


def ready_states(server):
    """Return what `/readyz` tells, once the journals have been read through."""
    until = time.monotonic() + 60
    while (found := server.http.get("/readyz").json())["status"] == "ready" and time.monotonic() < until:
        time.sleep(0.05)
    return found


@pytest.mark.parametrize("has_snapshot", [True, False])
def test_a_model_with_a_damaged_journal_can_be_asked_and_others_go_on(two, serving, problem, has_snapshot):
    damage(two / "m")
    if not has_snapshot:
        shutil.rmtree(two / "m" / "snapshots")
    with serving(two) as server:
        found = ready_states(server)
        assert (found["status"], found["models"]) == ("degraded", {"m": "read-only", "other": "ready"})
        assert "example 2 is not what was written; put a backup" in found["reasons"]["m"]
        assert server.http.get("/readyz").status_code == 200
        answer = server.post("/m/learn", {"x": {"a": 1.0}, "y": "low"})
        problem(answer, 423, "read-only", detail="m can be asked, not taught")
        taught = {"/undo": None, "/forget": {"ids": ["1"]}, "/feedback": {"prediction_id": "p", "y": "low"}}
        for path, body in taught.items():
            problem(server.post(f"/m{path}", body), 423, "read-only")
        answer = server.post("/m/predict", {"x": {"a": 3.0}})
        if has_snapshot:
            found = answer.json()
            assert (found["prediction"], found["position"], found["prediction_id"]) == ("high", 4, None)
            described = server.get("/m").json()
            assert (described["state"], described["features"], described["regression"]) == ("read-only", None, False)
        else:
            problem(answer, 423, "read-only", detail="m cannot be opened")
        assert server.learn({"a": 1.0}, "low", name="other")["position"] == 5


@pytest.mark.parametrize("content", [b"no database" * 2_000, b""])
def test_a_journal_that_is_none(two, serving, content, problem):
    for path in (two / "m").glob(f"{JOURNAL}*"):
        path.unlink()
    (two / "m" / JOURNAL).write_bytes(content)
    with serving(two) as server:
        if content:
            assert server.http.get("/readyz").json()["models"] == {"m": "read-only", "other": "ready"}
            assert server.post("/m/predict", {"x": {"a": 3.0}}).json()["prediction"] == "high"
            problem(server.get("/m/examples"), 423, "read-only")
        assert server.learn({"a": 1.0}, "low", name="other")["position"] == 5


def test_damage_that_is_found_while_serving_makes_the_model_read_only(server, problem):
    for n in range(6):
        server.learn({"a": float(n)}, "low", id=f"{n}")
    served = server.context.models.find("m")
    served._teacher._durable._journal._connection.execute("""UPDATE examples SET y = '"sideways"' WHERE position = 2""")
    problem(server.post("/m/forget", {"ids": ["0"]}), 423, "read-only", detail="example 2 is not what was written")
    assert server.http.get("/readyz").json()["models"] == {"m": "read-only"}
    problem(server.post("/m/learn", {"x": {"a": 1.0}, "y": "low"}), 423, "read-only")
    assert server.post("/m/predict", {"x": {"a": 3.0}}).json()["prediction"] == "low"


def test_a_model_that_another_process_teaches_is_left_to_it(two, serving):
    from perdure import DurableModel

    with DurableModel.open(two / "m"), serving(two) as server:
        assert server.http.get("/readyz").json()["models"] == {"m": "read-only", "other": "ready"}
        assert "is in use by" in server.http.get("/readyz").json()["reasons"]["m"]


def test_a_damaged_file_of_predictions_is_begun_again(two, serving):
    (two / "m" / "predictions.sqlite").write_bytes(b"no database" * 2_000)
    with serving(two) as server:
        id = server.post("/m/predict", {"x": {"a": 3.0}}).json()["prediction_id"]
        assert server.post("/m/feedback", {"prediction_id": id, "y": "high"}).json()["position"] == 5


def test_a_folder_that_was_deleted_half_is_cleared(two, serving):
    (two / "m").rename(two / ".deleted-0123456789abcdef")
    with serving(two) as server:
        assert server.http.get("/readyz").json()["models"] == {"other": "ready"}
    assert not (two / ".deleted-0123456789abcdef").exists()


def test_nothing_is_acknowledged_into_a_journal_that_was_deleted(server, problem, tmp_path):
    server.learn({"a": 0.0}, "low")
    journal = server.context.models.find("m").folder / "journal.sqlite"
    journal.rename(tmp_path / "elsewhere.sqlite")
    answer = server.post("/m/learn", {"x": {"a": 1.0}, "y": "high"})
    problem(answer, 423, "read-only", detail="m/journal.sqlite was deleted or replaced")
    assert f"{tmp_path}" not in answer.text
    assert server.http.get("/readyz").json()["models"] == {"m": "read-only"}
    assert server.post("/m/predict", {"x": {"a": 1.0}}).json()["position"] == 1
    (tmp_path / "elsewhere.sqlite").rename(journal)  # so that a snapshot can be made at the end


@pytest.fixture
def read_meanwhile(server):
    """A function that ends what another program reads in the journal of "m", such as a backup."""
    for n in range(3):
        server.learn({"a": float(n)}, "known", id=f"{n}")
    server.learn({"a": 9.0}, "secret", id="last")
    served = server.context.models.find("m")
    served._teacher._durable._journal._connection.execute("PRAGMA busy_timeout = 50")
    reader = sqlite3.connect(served.folder / JOURNAL, isolation_level=None)
    reader.execute("BEGIN")
    reader.execute("SELECT * FROM examples").fetchall()
    yield reader.close
    reader.close()


def test_what_is_forgotten_while_another_program_reads_is_not_answered_any_more(server, read_meanwhile, tmp_path):
    answer = server.post("/m/forget", {"ids": ["last"]})
    assert (answer.status_code, answer.json()["forgot"], answer.json()["erased"]) == (200, 1, False)
    assert "their content is still in m/journal.sqlite-wal, since another program is reading" in answer.json()["detail"]
    assert f"{tmp_path}" not in answer.text
    found = server.post("/m/predict", {"x": {"a": 9.0}}).json()
    assert (found["prediction"], found["classes"]) == ("known", ["known"])
    described = server.get("/m").json()
    assert (described["classes"], described["examples"]) == (["known"], 3)
    read_meanwhile()
    again = server.post("/m/forget", {"ids": ["last"]}).json()
    assert (again["forgot"], again["erased"]) == (0, True)
    assert "detail" not in again


def test_undo_while_another_program_reads_is_told_once(server, read_meanwhile):
    told = server.post("/m/undo").json()
    assert (told["forgot"]["id"], told["forgot"]["y"], told["erased"]) == ("last", "secret", False)
    assert server.get("/m").json()["classes"] == ["known"]
    with Client(server.url, model="m") as client, pytest.warns(PerdureWarning, match="is still in m/journal"):
        forgot = client.undo()
    assert forgot is not None
    assert forgot["id"] == "2"
    read_meanwhile()
    assert server.post("/m/undo").json()["erased"]
