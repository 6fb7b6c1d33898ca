"""The errors of core: the drawn tree is the tree of the classes, and each message names the value and the way out."""

from __future__ import annotations

import inspect

from tenantry.core import errors
from tenantry.core.errors import LayoutError, LayoutMistake, TenantryError


def drawn_tree(doc: str, root: str) -> dict[str, str]:
    """The parent of each class in a tree drawn at the head of a file."""
    parents: dict[str, str] = {}
    stack = [root]
    for line in doc.splitlines():
        head, branch, rest = line.partition("── ")
        if branch:
            depth = (len(head) - len("    ├")) // 4 + 1
            stack[depth:] = [rest.split()[0]]
            parents[stack[depth]] = stack[depth - 1]
    return parents


def test_the_tree_at_the_head_of_the_file_is_the_tree_of_the_classes():
    classes = {
        name: cls
        for name, cls in inspect.getmembers(errors, inspect.isclass)
        if issubclass(cls, TenantryError) and cls is not TenantryError
    }

    assert drawn_tree(errors.__doc__ or "", "TenantryError") == {
        name: cls.__mro__[1].__name__ for name, cls in classes.items()
    }


def test_what_is_exported_is_what_is_there():
    classes = {name for name, cls in inspect.getmembers(errors, inspect.isclass) if cls.__module__ == errors.__name__}

    assert set(errors.__all__) == classes


def test_an_error_names_its_parts_and_keeps_them():
    made = [
        errors.InvalidNameError("app", "A", why="is wrong", way_out="use a"),
        errors.SettingError("NEON_API_KEY", why="is missing", way_out="export it"),
        errors.TenantChangedError(began_for="acme", now="bolt"),
        errors.ForeignTenantError(table="notes", row_tenant="acme", tenant="bolt"),
        errors.EnvironmentProblem("no Postgres", way_out="install one"),
        errors.StepFailedError("create branch x", reason="no room"),
    ]

    for error in made:
        assert vars(error)
        assert all(str(part) in str(error) for part in vars(error).values())


def test_a_layout_error_says_how_many_mistakes_there_are_and_each_of_them():
    mistakes = [LayoutMistake(2, "a.b", "is wrong", "mend it"), LayoutMistake(7, "c", "is missing", "add it")]

    error = LayoutError("tenantry.toml", mistakes)

    assert str(error) == (
        "tenantry.toml has 2 mistakes:\n  line 2: a.b: is wrong; mend it\n  line 7: c: is missing; add it"
    )
    assert str(LayoutError("x", mistakes[:1])).startswith("x has 1 mistake:\n")
    assert error.mistakes == tuple(mistakes)
