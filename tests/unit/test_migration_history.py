"""Reading a folder of migrations, and telling what is pending."""

from pathlib import Path

import pytest

from tenantry.migrations import History, MigrationFolderError, Revision, UnknownRevisionError, read_history


def write(folder, name, down, head=""):
    versions = folder / "versions"
    versions.mkdir(exist_ok=True)
    (versions / f"{name}.py").write_text(
        f'"""The {name}."""\n{head}\nrevision = {name!r}\ndown_revision = {down!r}\ndef upgrade(): ...\n'
    )


def test_revisions_come_after_those_they_depend_on(tmp_path):
    write(tmp_path, "b", "a")
    write(tmp_path, "a", None)
    write(tmp_path, "c", "a")
    write(tmp_path, "d", ("b", "c"))

    history = read_history(tmp_path)

    order = [revision.id for revision in history.revisions]
    assert (order[0], order[-1], history.head) == ("a", "d", "d")
    assert history.revisions[-1].after == {"b", "c"}
    assert history.revisions[0].title == "The a."


def test_a_folder_without_revisions_has_no_head(tmp_path):
    (tmp_path / "versions").mkdir()

    assert read_history(tmp_path).head is None


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ([("a", None, ""), ("b", None, "")], "have 2 heads, a, b"),
        ([("a", None, "import nowhere_at_all")], "nowhere_at_all"),
        ([("a", None, "this is no Python")], "invalid syntax"),
        ([("b", "a", "")], "'a'"),
    ],
)
@pytest.mark.filterwarnings("ignore:Revision")
def test_a_broken_folder_is_named_with_its_fault(tmp_path, files, expected):
    for name, down, head in files:
        write(tmp_path, name, down, head)

    with pytest.raises(MigrationFolderError, match=expected) as caught:
        read_history(tmp_path)

    assert str(tmp_path) in str(caught.value)


def test_a_missing_folder_is_named(tmp_path):
    with pytest.raises(MigrationFolderError, match="no folder `versions`"):
        read_history(tmp_path / "nowhere")


def revision(name, *after):
    return Revision(name, Path(f"{name}.py"), frozenset(after))


DIAMOND = History(
    Path("m"), (revision("a"), revision("b", "a"), revision("c", "a"), revision("d", "b", "c"), revision("e", "d"))
)


@pytest.mark.parametrize(
    ("current", "pending"),
    [(set(), "abcde"), ({"a"}, "bcde"), ({"b"}, "cde"), ({"b", "c"}, "de"), ({"d"}, "e"), ({"e"}, "")],
)
def test_what_is_pending_follows_from_where_the_database_is(current, pending):
    found = DIAMOND.pending(frozenset(current), schema="s")

    assert "".join(each.id for each in found) == pending


def test_a_revision_that_is_not_in_the_folder_is_not_guessed():
    with pytest.raises(UnknownRevisionError, match="schema s is at revision x"):
        DIAMOND.pending(frozenset({"x"}), schema="s")
