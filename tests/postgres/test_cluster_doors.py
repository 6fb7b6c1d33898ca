"""Who gets into a cluster: whoever has a password, and nobody learns one."""

import secrets
import socket
import threading
from dataclasses import replace
from pathlib import Path

import psycopg
import pytest
from psycopg import conninfo

from tenantry.local.clusters import processes
from tests.plugins.postgres import scalar


def test_every_file_of_a_cluster_is_the_runners_and_closed_to_others(cluster, runner):
    everything = [cluster.data, *cluster.data.rglob("*")]

    assert {path.stat().st_uid for path in everything} == {runner.uid}
    assert {path.stat().st_mode & 0o077 for path in everything} == {0}


def test_every_way_in_asks_for_a_scram_password(cluster):
    with cluster.connect() as connection:
        rules = connection.execute("SELECT type, auth_method, error FROM pg_catalog.pg_hba_file_rules").fetchall()
        stored = connection.execute("SELECT rolpassword FROM pg_catalog.pg_authid WHERE rolpassword IS NOT NULL")

        assert {(method, error) for _, method, error in rules} == {("scram-sha-256", None)}
        assert {kind for kind, _, _ in rules} == {"local", "host"}
        assert all(verifier.startswith("SCRAM-SHA-256$") for (verifier,) in stored)


@pytest.mark.parametrize("over", ["socket", "tcp"])
@pytest.mark.parametrize("password", ["wrong", ""])
def test_a_wrong_password_and_none_are_refused(postgres, over, password):
    host = str(postgres.sockets) if over == "socket" else "127.0.0.1"

    with pytest.raises(psycopg.OperationalError, match=r"password"):
        psycopg.connect(host=host, port=postgres.port, user="cloud_admin", password=password, dbname="postgres")


def test_replication_asks_for_a_password_too(postgres):
    with pytest.raises(psycopg.OperationalError, match=r"password authentication failed"):
        psycopg.connect(
            host="127.0.0.1", port=postgres.port, user="cloud_admin", password="wrong", replication="database"
        )


def test_a_connection_over_tls_with_channel_binding_works_as_with_neon(database):
    role = database.role("app")
    dsn = conninfo.make_conninfo(database.dsn(role), sslmode="require", channel_binding="require")

    with psycopg.connect(dsn) as connection:
        row = connection.execute(
            "SELECT version FROM pg_catalog.pg_stat_ssl WHERE pid = pg_catalog.pg_backend_pid()"
        ).fetchone()

    assert row is not None
    assert row[0].startswith("TLSv1.")


def test_the_certificate_is_good_for_this_machine_and_the_key_for_nobody_else(postgres):
    key = (postgres.data / "server.key").stat()

    with psycopg.connect(
        host="localhost",
        hostaddr="127.0.0.1",
        port=postgres.port,
        user="cloud_admin",
        password=postgres.superuser_password,
        dbname="postgres",
        sslmode="verify-full",
        sslrootcert=str(postgres.data / "server.crt"),
    ) as connection:
        assert connection.pgconn.ssl_in_use

    assert key.st_mode & 0o777 == 0o600
    assert key.st_uid == postgres.runner.uid


def test_a_stranger_on_the_socket_gets_no_password(new_cluster):
    cluster = new_cluster()
    sockets = cluster.sockets.parent / secrets.token_hex(3)
    sockets.mkdir()
    heard = []
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(sockets / f".s.PGSQL.{cluster.port}"))
        server.listen()

        def ask_for_the_password_in_clear():
            client, _ = server.accept()
            with client:
                client.settimeout(5)
                heard.append(client.recv(4096))
                client.sendall(b"R" + (8).to_bytes(4) + (3).to_bytes(4))
                heard.append(client.recv(4096))

        stranger = threading.Thread(target=ask_for_the_password_in_clear)
        stranger.start()
        with pytest.raises(psycopg.OperationalError, match="authentication method requirement"):
            replace(cluster, sockets=sockets).connect()
        stranger.join()

    assert heard[0]
    assert cluster.superuser_password.encode() not in b"".join(heard)


def test_passwords_are_in_no_repr_log_or_command_line(cluster):
    password = secrets.token_urlsafe(16)
    cluster.ensure_role("someone", password)
    with pytest.raises(psycopg.errors.UndefinedObject):
        cluster.set_role_password("no_such_role", password)
    with cluster.connect() as connection:
        verifier = connection.execute("SELECT rolpassword FROM pg_catalog.pg_authid WHERE rolname = 'someone'")
        (verifier,) = verifier.fetchone()
    pid = processes.postmaster_of(cluster.data)
    log = (cluster.data / "server.log").read_text()
    command_line = Path(f"/proc/{pid}/cmdline").read_text()

    for text in (log, command_line, repr(cluster), str(cluster)):
        assert password not in text
        assert cluster.superuser_password not in text
        assert verifier not in text
    assert "SCRAM-SHA-256$" not in log


def test_nothing_in_the_data_folder_changes_where_a_server_listens(cluster):
    with cluster.connect() as connection:
        connection.execute("ALTER SYSTEM SET port = 1")
        connection.execute("ALTER SYSTEM SET listen_addresses = '*'")
        connection.execute("ALTER SYSTEM SET unix_socket_directories = '/nowhere'")
    cluster.stop()

    cluster.start()

    assert scalar(cluster, "SHOW port") == str(cluster.port)
    assert scalar(cluster, "SHOW listen_addresses") == "127.0.0.1"
