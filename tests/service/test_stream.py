"""Lines that are learned while they come: in their order, and told so that whoever was cut off can go on."""

import json
import threading
from dataclasses import replace

from perdure.service import writer
from perdure.service.problems import ProblemError
from tests.service.conftest import PATIENT

NDJSON = {"Content-Type": "application/x-ndjson"}


def lines_of(name, n):
    return "".join(f"{json.dumps({'x': {'a': float(k % 7)}, 'y': 'up', 'id': f'{name}-{k}'})}\n" for k in range(n))


def learn(server, content):
    answer = server.http.post("/v1/models/m/learn", content=content, headers=NDJSON)
    return [json.loads(it) for it in answer.text.splitlines()]


def test_lines_keep_their_order_while_the_queue_is_full(serving):
    n_streams, n = 6, 2_000
    with serving(limits=replace(PATIENT, queue_rows=300)) as server:
        served = server.make()
        threads = [threading.Thread(target=learn, args=(server, lines_of(it, n))) for it in range(n_streams)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        with served.journal() as journal:
            ids = [it.id.split("-") for it in journal.entries()]
    for stream in range(n_streams):
        assert [int(k) for name, k in ids if name == f"{stream}"] == list(range(n))


def test_no_line_is_told_after_those_that_failed(server, monkeypatch):
    """Whoever continues after the last line told leaves none out."""
    at_work = server.context.models.find("m")._writer
    teach = at_work._learn

    def failing(requests):
        if any("m-300" in it.ids for it in requests):
            raise ProblemError("disk-full", "no room")
        return teach(requests)

    monkeypatch.setattr(writer, "MAX_GROUP_ROWS", 256)  # each batch by itself
    monkeypatch.setattr(at_work, "_learn", failing)
    told = learn(server, lines_of("m", 1_500))
    assert [it.get("line") for it in told] == [256, None]
    assert told[1]["problem"]["type"].endswith("disk-full")
    monkeypatch.undo()
    rest = lines_of("m", 1_500).splitlines(keepends=True)[256:]
    assert sum(it["learned"] + it["known"] for it in learn(server, "".join(rest))) == len(rest)
    assert server.get("/m").json()["examples"] == 1_500
