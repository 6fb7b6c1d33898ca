"""The tree of branches, and resetting one from its parent."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tenantry.control.errors import ResetRefusedError

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

    from tenantry.control.wanted import WantedBranch
    from tenantry.neon.wire import Branch

__all__ = ["BranchNode", "Reset", "check_reset", "grow_tree"]


@dataclass(frozen=True, slots=True)
class BranchNode:
    """A branch in the tree. `known` says that the layout has it."""

    name: str
    id: str
    parent: str | None
    default: bool
    ephemeral: bool
    known: bool
    state: str

    def describe(self) -> str:
        """Say what the tree shows of it."""
        marks = [
            *(["default"] if self.default else []),
            *(["ephemeral"] if self.ephemeral else []),
            *([] if self.known else ["not in the layout"]),
            *([] if self.state == "ready" else [self.state]),
        ]
        return f"{self.name} ({', '.join(marks)})" if marks else self.name

    def as_json(self) -> dict[str, Any]:
        """Return the branch as JSON takes it."""
        return {
            "name": self.name,
            "id": self.id,
            "parent": self.parent,
            "default": self.default,
            "ephemeral": self.ephemeral,
            "in_layout": self.known,
            "state": self.state,
        }


@dataclass(frozen=True, slots=True)
class Reset:
    """A branch that was, or would be, made what its parent is at a moment."""

    branch: str
    parent: str
    at: datetime
    done: bool

    def as_json(self) -> dict[str, Any]:
        """Return the reset as JSON takes it."""
        return {"branch": self.branch, "parent": self.parent, "at": self.at.isoformat(), "done": self.done}


def grow_tree(branches: Iterable[Branch], wanted: Iterable[WantedBranch]) -> tuple[BranchNode, ...]:
    """Return *branches* as a tree: each after its parent, children in the order of their names."""
    known = {branch.name: branch for branch in wanted}
    by_id = {branch.id: branch for branch in branches}
    children: dict[str | None, list[Branch]] = {}
    for branch in sorted(by_id.values(), key=lambda each: each.name):
        children.setdefault(branch.parent_id if branch.parent_id in by_id else None, []).append(branch)
    nodes: list[BranchNode] = []
    waiting = list(reversed(children.get(None, ())))
    while waiting:
        branch = waiting.pop()
        as_wanted = known.get(branch.name)
        nodes.append(
            BranchNode(
                branch.name,
                branch.id,
                by_id[branch.parent_id].name if branch.parent_id in by_id else None,
                default=branch.default,
                ephemeral=as_wanted is not None and as_wanted.ephemeral,
                known=as_wanted is not None,
                state=branch.current_state,
            )
        )
        waiting += reversed(children.get(branch.id, ()))
    return tuple(nodes)


def check_reset(branch: WantedBranch, nodes: Iterable[BranchNode], *, force: bool) -> None:
    """Raise `ResetRefusedError` if a reset of *branch* would lose what is kept, or children stand in its way."""
    if not branch.ephemeral and not force:
        raise ResetRefusedError(
            branch.name,
            why="is not ephemeral, and what only it holds would be lost",
            way_out="set `ephemeral = true` for it in the layout, or give --force",
        )
    children = [node.name for node in nodes if node.parent == branch.name]
    if children:
        raise ResetRefusedError(
            branch.name,
            why=f"has children ({', '.join(children)}), and a branch that is reset can have none",
            way_out="delete them first",
        )
