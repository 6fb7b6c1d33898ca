"""What is wanted, as values: the layout's branches, parents first, and the migrations of its apps."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tenantry.migrations import History

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tenantry.core.layout import App, Layout

__all__ = ["Wanted", "WantedBranch"]


@dataclass(frozen=True, slots=True)
class WantedBranch:
    """A branch, its parent (None for the default branch), and the apps whose schema stands on it."""

    name: str
    parent: str | None
    apps: tuple[App, ...] = ()
    ephemeral: bool = False

    @property
    def roles(self) -> tuple[str, ...]:
        """The roles that log in on this branch with a password of its own."""
        return tuple(role for app in self.apps for role in (app.migrator_role, app.app_role, *app.operator_roles))


@dataclass(frozen=True, slots=True)
class Wanted:
    """The layout, and by the name of an app what its folder of migrations holds."""

    layout: Layout
    histories: Mapping[str, History] = field(default_factory=dict[str, History])

    def branches(self) -> tuple[WantedBranch, ...]:
        """Every branch that is wanted: the default branch, then each after its parent."""
        default = self.layout.default_branch
        found = [WantedBranch(default, None)]
        for app, environment in self.layout.environments():
            parent = environment.parent_branch or default
            found.append(WantedBranch(environment.branch, parent, (app,), ephemeral=environment.ephemeral))
        return tuple(found)

    def branch(self, name: str) -> WantedBranch:
        """The wanted branch called *name*. Raises `KeyError`."""
        for branch in self.branches():
            if branch.name == name:
                return branch
        raise KeyError(name)
