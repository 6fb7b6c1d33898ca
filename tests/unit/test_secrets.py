"""The master key and what is derived from it."""

import pickle
import stat
import threading

import pytest

from tenantry.core.errors import SettingError
from tenantry.core.ids import BranchId, ProjectId
from tenantry.secrets import Secrets

KEY = "k" * 32


def password(secrets, project="p", branch="b", role="r"):
    return secrets.password(ProjectId(project), BranchId(branch), role)


def test_a_password_is_the_same_every_time_and_another_for_every_branch_role_and_project():
    secrets = Secrets.from_value(KEY)
    triples = [("p", "b", "r"), ("p", "b", "r2"), ("p", "b2", "r"), ("p2", "b", "r"), ("pb", "", "r")]

    passwords = [password(secrets, *triple) for triple in triples]

    assert passwords == [password(Secrets.from_value(KEY), *triple) for triple in triples]
    assert len(set(passwords)) == len(triples)
    assert {len(password) for password in passwords} == {43}


def test_another_key_gives_another_password():
    assert password(Secrets.from_value(KEY)) != password(Secrets.from_value("j" * 32))


def test_a_short_key_is_refused_without_showing_it():
    with pytest.raises(SettingError, match="has 9 characters and needs 32") as caught:
        Secrets.from_value("hushhushh")

    assert "hush" not in str(caught.value)


def test_the_key_shows_in_no_repr_and_is_not_pickled():
    secrets = Secrets.from_value(KEY)

    assert KEY not in repr(secrets)
    with pytest.raises(TypeError):
        pickle.dumps(secrets)


def test_a_key_file_is_made_once_for_its_owner_only(tmp_path):
    path = tmp_path / ".tenantry" / "secret.key"

    first = password(Secrets.from_file(path))

    assert password(Secrets.from_file(path)) == first
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [each.name for each in path.parent.iterdir()] == ["secret.key"]


def test_a_new_key_file_is_made_with_a_key_of_its_own(tmp_path):
    keys = {password(Secrets.from_file(tmp_path / name)) for name in ("a", "b")}

    assert len(keys) == 2


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o610, 0o602])
def test_a_key_file_that_others_can_use_is_refused(tmp_path, mode):
    path = tmp_path / "secret.key"
    Secrets.from_file(path)
    path.chmod(mode)

    with pytest.raises(SettingError, match=f"has mode {mode:03o}.*chmod 600"):
        Secrets.from_file(path)


def test_an_empty_key_file_is_named(tmp_path):
    path = tmp_path / "secret.key"
    path.touch(mode=0o600)

    with pytest.raises(SettingError, match=r"secret\.key has 0 characters"):
        Secrets.from_file(path)


def test_processes_that_make_the_file_at_once_read_one_key(tmp_path):
    found = []
    start = threading.Barrier(8)

    def make():
        start.wait()
        found.append(password(Secrets.from_file(tmp_path / "secret.key")))

    threads = [threading.Thread(target=make) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(found) == 8
    assert len(set(found)) == 1
