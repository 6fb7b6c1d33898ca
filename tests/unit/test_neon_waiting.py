"""The Neon client: waiting for operations."""

from __future__ import annotations

import httpx2
import pytest

from tenantry.neon import wire
from tenantry.neon.errors import (
    OperationFailedError,
    OperationTimeoutError,
)
from tests.plugins.neon import (
    Server,
    Time,
    answer,
    client_of,
    operation,
    refusal,
    run,
)


def operations(*statuses: str) -> list[wire.Operation]:
    return [wire.Operation.model_validate(operation(status, f"op-{number}")) for number, status in enumerate(statuses)]


def stages(**of: list[str]):
    """A server that shows each operation in its stages, the last for ever."""
    seen: dict[str, int] = {}

    def serve(request: httpx2.Request) -> httpx2.Response:
        id_ = request.url.path.rpartition("/")[2]
        at = seen[id_] = seen.get(id_, -1) + 1
        steps = of[id_.replace("-", "_")]
        return answer({"operation": operation(steps[min(at, len(steps) - 1)], id_, error="out of room")})

    return serve


def test_operations_that_have_ended_are_not_looked_at():
    server = Server([refusal(500)])

    ended = run(client_of(server).wait_for_operations(operations("finished", "skipped")))

    assert [each.status for each in ended] == ["finished", "skipped"]
    assert server.requests == []
    assert run(client_of(server).wait_for_operations([])) == []


def test_operations_are_looked_at_until_each_has_ended():
    time = Time()
    serve = stages(op_0=["running", "finished"], op_1=["scheduling", "a word we do not know", "skipped"])

    ended = run(client_of(serve, time).wait_for_operations(operations("running", "scheduling")))

    assert [(each.id, each.status) for each in ended] == [("op-0", "finished"), ("op-1", "skipped")]
    assert time.slept == [0.1, 0.2, 0.4]


@pytest.mark.parametrize("status", ["failed", "error", "cancelled"])
def test_an_operation_that_ends_badly_is_raised_with_its_reason(status):
    serve = stages(op_0=["running"], op_1=[status])

    with pytest.raises(OperationFailedError, match=f"op-1.* is {status}: out of room") as caught:
        run(client_of(serve).wait_for_operations(operations("running", "running")))

    assert [each.id for each in caught.value.operations] == ["op-1"]


def test_an_operation_that_had_failed_already_is_raised_without_looking():
    with pytest.raises(OperationFailedError):
        run(client_of(Server([refusal(500)])).wait_for_operations(operations("failed", "running")))


def test_operations_that_do_not_end_in_time_are_named():
    time = Time()
    serve = stages(op_0=["finished"], op_1=["cancelling"])

    with pytest.raises(OperationTimeoutError, match=r"op-1.* is cancelling: not ended after 7\.25 s") as caught:
        run(client_of(serve, time).wait_for_operations(operations("running", "running"), timeout_seconds=7.25))

    assert [each.id for each in caught.value.operations] == ["op-1"]
    assert sum(time.slept) == pytest.approx(7.25)
    assert max(time.slept) == 1
