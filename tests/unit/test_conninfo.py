"""Connection values: each driver's spelling, and no password where it could be seen."""

import pytest
from psycopg.conninfo import conninfo_to_dict
from sqlalchemy.engine import make_url

from tenantry.core.conninfo import Conninfo
from tenantry.core.errors import UsageError

ODD = Conninfo("127.0.0.1", 5433, "neon db", "neondb_owner", "p@ss/w:rd%?&", channel_binding="require")


def test_libpq_reads_what_was_written():
    read = conninfo_to_dict(ODD.dsn())

    assert (read["user"], read["password"], read["dbname"]) == ("neondb_owner", "p@ss/w:rd%?&", "neon db")
    assert (read["sslmode"], read["channel_binding"], read["port"]) == ("require", "require", "5433")


def test_sqlalchemy_reads_what_was_written():
    url = make_url(ODD.sqlalchemy_url("psycopg"))

    assert (url.password, url.database, url.port) == ("p@ss/w:rd%?&", "neon db", 5433)
    assert url.query == {"sslmode": "require", "channel_binding": "require"}


def test_asyncpg_gets_its_own_word_for_encryption_and_no_channel_binding():
    url = make_url(ODD.sqlalchemy_url("asyncpg"))

    assert url.drivername == "postgresql+asyncpg"
    assert url.query == {"ssl": "require"}


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "ep-a-b-12345678.us-east-2.aws.neon.tech"])
def test_a_uri_gives_the_parts_back(host):
    conninfo = Conninfo(host, 5432, "d", "r", "p w", sslmode="verify-full")

    assert Conninfo.from_uri(conninfo.dsn()) == conninfo


def test_a_uri_without_a_port_has_the_usual_one():
    assert Conninfo.from_uri("postgresql://r:p@host/d?sslmode=require").port == 5432


def test_a_parameter_that_would_be_lost_is_refused():
    with pytest.raises(UsageError, match="'sslrootcert'"):
        Conninfo.from_uri("postgresql://r:p@host/d?sslmode=verify-full&sslrootcert=ca.pem")


def test_the_password_does_not_show():
    assert "p@ss" not in repr(ODD)
    assert str(ODD) == "neondb_owner@127.0.0.1:5433/neon db"
