"""The writer: what waits is learned together, in order, and everybody is told."""

import asyncio
import threading

import pytest

from perdure.online.group import request_of
from perdure.service.limits import MAX_GROUP_ROWS, Limits
from perdure.service.problems import ProblemError
from perdure.service.writer import Writer


class Learner:
    """Notes groups; waits until it is let go."""

    def __init__(self):
        self.groups, self.go, self.began = [], threading.Event(), threading.Event()

    def __call__(self, requests):
        self.began.set()
        assert self.go.wait(60)
        self.groups.append([it.kept.targets[0] for it in requests])
        return [ValueError(y) if y == "bad" else y for y in self.groups[-1]]


def request(y, n_rows=1):
    return request_of([{"a": 1.0}] * n_rows, [y] * n_rows)


def run(scenario, limits=None):
    learner = Learner()
    writer = Writer("writer", learner, limits or Limits())
    try:
        asyncio.run(scenario(writer, learner))
    finally:
        learner.go.set()
        assert writer.stop(60.0)
    return learner


def test_what_waits_is_learned_together_and_in_order():
    async def scenario(writer, learner):
        first = writer.send(request("a"))
        assert learner.began.wait(60)
        others = [writer.send(request(y)) for y in ("b", "bad", "c")]
        others.append(writer.send(lambda: "called"))
        others += [writer.send(request("d")), writer.send(request("e"))]
        assert writer.depth == 6
        learner.go.set()
        assert await first == "a"
        told = await asyncio.gather(*others, return_exceptions=True)
        assert [str(it) for it in told] == ["b", "bad", "c", "called", "d", "e"]
        assert isinstance(told[1], ValueError)

    assert run(scenario).groups == [["a"], ["b", "bad", "c"], ["d", "e"]]


def test_a_group_has_so_many_rows_at_most():
    async def scenario(writer, learner):
        first = writer.send(request("a"))
        assert learner.began.wait(60)
        others = [writer.send(request(y, MAX_GROUP_ROWS // 2)) for y in "bcd"]
        others.append(writer.send(request("e", 2 * MAX_GROUP_ROWS)))
        learner.go.set()
        await asyncio.gather(first, *others)

    assert run(scenario).groups == [["a"], ["b", "c"], ["d"], ["e"]]


def test_the_queue_is_bounded_and_one_large_request_is_let_in():
    async def scenario(writer, learner):
        first = writer.send(request("a"))
        assert learner.began.wait(60)
        waiting = [writer.send(request("b", 50))]  # more than the bound, but nothing waits
        with pytest.raises(ProblemError, match=r"1 requests of 50 rows wait already"):
            writer.send(request("c"))
        waiting += [writer.send(lambda: None) for _ in range(2)]
        with pytest.raises(ProblemError, match="expected at most 3 of 20"):
            writer.send(lambda: None)
        learner.go.set()
        await asyncio.gather(first, *waiting)
        assert await writer.send(request("d")) == "d"

    run(scenario, Limits(queue=3, queue_rows=20))


def test_whoever_has_gone_keeps_nobody_waiting():
    async def scenario(writer, learner):
        first = writer.send(request("a"))
        assert learner.began.wait(60)
        gone, last = writer.send(request("b")), writer.send(request("c"))
        gone.cancel()
        learner.go.set()
        assert await first == "a"
        assert await last == "c"

    assert run(scenario).groups == [["a"], ["b", "c"]]


def test_what_waits_when_it_stops_is_learned_and_nothing_more_is_taken():
    async def scenario(writer, learner):
        first = writer.send(request("a"))
        assert learner.began.wait(60)
        last = writer.send(request("b"))
        stopping = threading.Thread(target=writer.stop, args=(60.0,))
        stopping.start()
        while not writer._stopping:
            await asyncio.sleep(0.01)
        with pytest.raises(ProblemError, match="about to stop"):
            writer.send(request("c"))
        learner.go.set()
        assert await asyncio.gather(first, last) == ["a", "b"]
        stopping.join()

    run(scenario)


def test_an_error_is_told_to_all_of_the_group():
    def fail(requests):
        raise RuntimeError("broken")

    async def scenario(writer):
        told = await asyncio.gather(*(writer.send(request("a")) for _ in range(3)), return_exceptions=True)
        assert [str(it) for it in told] == ["broken"] * 3

    writer = Writer("writer", fail, Limits())
    asyncio.run(scenario(writer))
    assert writer.stop(60.0)
