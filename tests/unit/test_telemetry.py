"""The scope in log records, spans and the name of a connection: ids, and nothing else."""

import io
import json
import logging
from uuid import UUID

import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from tenantry import Tenant, tenant_scope
from tenantry.session.context import Context, current_context
from tenantry.session.logs import TenantFilter, add_tenant
from tenantry.session.opentelemetry import TenantSpanProcessor, mark_current_span
from tenantry.session.protection import Protection
from tenantry.session.statements import name_of, set_locally_with_literals, settings_of

ACME, BOLT = UUID(int=1), UUID(int=2)


@pytest.fixture
def logged():
    """A logger with the filter on its handler, and what it wrote."""
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.addFilter(TenantFilter())
    handler.setFormatter(logging.Formatter("%(tenant_id)s|%(user_id)s|%(message)s"))
    logger = logging.getLogger("tests.telemetry")
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    yield lambda: stream.getvalue().splitlines()
    logger.removeHandler(handler)


def test_each_record_names_the_scope_it_was_logged_in(logged):
    logger = logging.getLogger("tests.telemetry.below")
    logger.info("before")
    with tenant_scope(ACME, user="ada"):
        logger.info("one")
        with tenant_scope(BOLT):
            logger.info("two")
        logger.info("three", extra={"tenant_id": "forged"})
    logger.info("after", extra={"tenant_id": "forged"})

    assert logged() == [
        "-|-|before",
        f"{ACME}|ada|one",
        f"{BOLT}|-|two",
        f"{ACME}|ada|three",
        "-|-|after",
    ]


def test_an_id_begins_no_line_of_its_own(logged):
    with tenant_scope("7\nERROR forged", user="a\r\x1b[0m"):
        logging.getLogger("tests.telemetry").info("x")

    assert logged() == ["7\\nERROR forged|a\\r\\x1b[0m|x"]


def test_structlog_renders_the_ids_of_the_scope_alone():
    stream = io.StringIO()
    logger = structlog.wrap_logger(
        structlog.PrintLogger(stream), processors=[add_tenant, structlog.processors.JSONRenderer()]
    )

    logger.info("before", tenant_id="forged")
    with tenant_scope(ACME, user="ada"):
        logger.info("inside", tenant_id="forged")

    assert [json.loads(line) for line in stream.getvalue().splitlines()] == [
        {"event": "before"},
        {"event": "inside", "tenant_id": str(ACME), "user_id": "ada"},
    ]


@pytest.mark.parametrize("users", [True, False])
def test_a_span_carries_the_tenant_that_it_starts_for(users):
    exporter = InMemorySpanExporter()
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(TenantSpanProcessor(users=users))
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    tracer = provider.get_tracer("tests")

    with tracer.start_as_current_span("request"), tenant_scope(ACME, user="ada"):
        with tracer.start_as_current_span("query"), tenant_scope(BOLT), tracer.start_as_current_span("other"):
            pass
        mark_current_span(current_context())
    with tracer.start_as_current_span("outside"):
        pass

    own = {"tenant.id": str(ACME), **({"user.id": "ada"} if users else {})}
    assert {span.name: dict(span.attributes or {}) for span in exporter.get_finished_spans()} == {
        "other": {"tenant.id": str(BOLT)},
        "query": own,
        "request": {"tenant.id": str(ACME)},
        "outside": {},
    }
    provider.shutdown()


def test_a_connection_is_named_only_where_the_pool_says_so():
    context = Context(Tenant(ACME), "ada")

    assert "application_name" not in dict(settings_of(context, Protection()))
    settings = settings_of(context, Protection(application_name="web"))
    assert dict(settings)["application_name"] == f"web tenant={ACME}"
    assert "ada" not in dict(settings)["application_name"]
    assert f"'application_name', E'web tenant={ACME}', true" in set_locally_with_literals(settings)


@pytest.mark.parametrize(
    ("application", "tenant", "name"),
    [
        ("web", 7, "web tenant=7"),
        ("", 7, "tenant=7"),
        ("w\u00e9b", "b\u00fc\n", "w\\xe9b tenant=b\\xfc\\n"),
        ("w" * 80, ACME, f"{'w' * 19} tenant={ACME}"),
        ("web", "t" * 80, f"tenant={'t' * 56}"),
    ],
)
def test_the_id_stays_whole_where_the_name_is_too_long(application, tenant, name):
    assert name_of(Context(Tenant(tenant)), application) == name


@given(st.text(), st.text(min_size=1).filter(lambda text: "\x00" not in text))
def test_a_name_is_always_one_that_postgres_shows_as_it_is(application, tenant):
    name = name_of(Context(Tenant(tenant)), application)

    assert len(name.encode("ascii")) <= 63
    assert name.isprintable()
    assert "tenant=" in name
