"""The Neon client: what is sent again, and in which order."""

from __future__ import annotations

import asyncio
import re
from typing import Any

import httpx2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tenantry.neon import wire
from tenantry.neon.client import NeonClient
from tenantry.neon.errors import (
    LockedError,
    NetworkError,
    RateLimitedError,
    ServerError,
)
from tests.plugins.neon import (
    CALLS,
    CHANGED_BRANCH,
    CHANGED_DATABASE,
    KEY,
    Server,
    Time,
    answer,
    call,
    client_of,
    refusal,
    run,
)


@pytest.mark.parametrize("status", [423, 429, 503])
def test_a_mutation_that_was_refused_undone_is_sent_again_with_its_body(status):
    server = Server([refusal(status), refusal(status), answer(CHANGED_DATABASE, 201)])
    time = Time()

    run(client_of(server, time).create_project_branch_database("p", "b", wire.DatabaseCreate(name="d", owner_name="o")))

    assert len({request.content for request in server.requests}) == 1
    assert len(server.requests) == 3
    assert time.slept == [0.25, 0.5]


def test_a_retry_after_is_obeyed():
    server = Server([refusal(429, Retry_After="3"), answer({"count": 1})])
    time = Time()

    run(client_of(server, time).count_project_branches("p"))

    assert time.slept == [3]


@pytest.mark.parametrize("fault", [httpx2.ConnectError("x"), httpx2.ReadTimeout("x"), refusal(502), refusal(524)])
def test_a_get_is_sent_again_after_a_fault(fault):
    server = Server([fault, answer({"count": 1})])

    assert run(client_of(server).count_project_branches("p")) == 1


MUTATIONS = [row for row in CALLS if row[2] != "GET"]
FAULTS = [httpx2.ReadError("x"), httpx2.ConnectTimeout("x"), refusal(500), refusal(502), refusal(504), refusal(524)]


@given(row=st.sampled_from(MUTATIONS), fault=st.sampled_from(FAULTS), refused=st.integers(0, 4))
def test_no_mutation_is_sent_again_after_a_fault(row, fault, refused):
    server = Server([*[refusal(423)] * refused, fault, answer(row[5])])

    with pytest.raises((ServerError, NetworkError)):
        run(call(client_of(server), row[0], row[1]))

    assert len(server.requests) == refused + 1


def test_a_lock_that_does_not_end_is_raised_after_the_attempts():
    server = Server([refusal(423, "project already has running conflicting operations")])

    with pytest.raises(LockedError, match="running conflicting operations"):
        run(client_of(server, attempts=4).delete_project("p"))

    assert len(server.requests) == 4


def test_the_total_time_of_retries_is_bounded():
    time = Time()

    with pytest.raises(RateLimitedError):
        run(client_of(Server([refusal(429, Retry_After="50")]), time, total_seconds=120).get_project("p"))

    assert time.slept == [50, 50]


class Busy:
    """Counts the requests that it holds at a time, in all and a project."""

    def __init__(self) -> None:
        self.now: dict[str, int] = {}
        self.most_of_a_project = 0
        self.most = 0
        self.order: list[str] = []

    async def __call__(self, request: httpx2.Request) -> httpx2.Response:
        found = re.search(r"/projects/(\w+)", request.url.path)
        assert found
        key = found[1]
        self.now[key] = self.now.get(key, 0) + 1
        self.most_of_a_project = max(self.most_of_a_project, self.now[key])
        self.most = max(self.most, sum(self.now.values()))
        self.order.append(request.url.path)
        for _ in range(5):
            await asyncio.sleep(0)
        self.now[key] -= 1
        return answer(CHANGED_BRANCH if request.method != "GET" else {"count": 1})


def test_mutations_of_one_project_are_sent_one_at_a_time_and_in_order():
    busy = Busy()

    async def work() -> None:
        async with client_of(busy) as client:
            await asyncio.gather(*(client.set_default_project_branch("p", f"b{number}") for number in range(8)))

    run(work())

    assert busy.most_of_a_project == 1
    assert busy.order == [f"/api/v2/projects/p/branches/b{number}/set_as_default" for number in range(8)]


def test_mutations_of_several_projects_and_reads_are_sent_side_by_side():
    mutations, reads = Busy(), Busy()

    async def work() -> None:
        async with client_of(mutations) as client:
            await asyncio.gather(*(client.create_project_branch(f"p{number}") for number in range(6)))
        async with client_of(reads) as client:
            await asyncio.gather(*(client.count_project_branches("p") for _ in range(6)))

    run(work())

    assert mutations.most == 6
    assert reads.most_of_a_project == 6


def test_a_mutation_that_fails_or_is_cancelled_lets_the_next_one_through():
    async def work() -> Any:
        async with client_of(Server([refusal(400), httpx2.ReadError("x"), answer(CHANGED_BRANCH)])) as client:
            results = await asyncio.gather(
                *(client.create_project_branch("p") for _ in range(3)), return_exceptions=True
            )
            waiting = asyncio.create_task(client.create_project_branch("p"))
            waiting.cancel()
            await asyncio.gather(waiting, return_exceptions=True)
            return [*results, await client.create_project_branch("p"), dict(client._exchange._locks)]

    *results, last, locks = run(work())

    assert [type(each).__name__ for each in results] == ["NeonError", "NetworkError", "CreatedBranch"]
    assert last.branch.id == "b"
    assert locks == {}


def test_a_request_waits_for_the_network_as_long_as_is_said_and_for_a_free_connection_for_ever():
    server = Server([answer({"count": 1})])
    client = NeonClient(KEY, base_url="http://neon.test", transport=httpx2.MockTransport(server), timeout_seconds=7)

    run(client.count_project_branches("p"))

    assert server.requests[0].extensions["timeout"] == {"connect": 7, "read": 7, "write": 7, "pool": None}
