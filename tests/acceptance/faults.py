"""A model of one project: what each operation makes of it, as values. The fault test compares the engine with it."""

import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace

MOST_BRANCHES = 5
OWNER = "neondb_owner"
DATABASE = "neondb"


@dataclass(frozen=True, slots=True)
class BranchState:
    """What a branch must hold. `rows` are those that were committed, and no others."""

    parent: str | None
    active: bool | None
    rows: frozenset[int] = frozenset()
    roles: frozenset[str] = frozenset({OWNER})
    databases: frozenset[str] = frozenset({DATABASE})


World = Mapping[str, BranchState]
"""The branches of the project, by name. `active` is None where there is no endpoint."""


@dataclass(frozen=True, slots=True)
class Op:
    """An operation of *kind* on *branch*. *name* is what it makes or removes, *number* the row that it writes."""

    kind: str
    branch: str
    name: str = ""
    number: int = 0
    compute: bool = field(default=True)


def children(world: World, name: str) -> list[str]:
    return [child for child, state in world.items() if state.parent == name]


def after(world: World, op: Op) -> World:  # noqa: C901, PLR0912 - one case a kind, and no more to it
    """The world once *op* is done."""
    made = dict(world)
    state = made[op.branch]
    match op.kind:
        case "create":
            made[op.name] = replace(state, parent=op.branch, active=True if op.compute else None)
        case "delete":
            del made[op.branch]
        case "rename":
            del made[op.branch]
            made[op.name] = state
            for child in children(world, op.branch):
                made[child] = replace(made[child], parent=op.name)
        case "reset" | "preserve":
            assert state.parent is not None
            source = world[state.parent]
            made[op.branch] = replace(source, parent=state.parent, active=state.active)
            if op.kind == "preserve":
                made[op.name] = replace(state, active=None)
                for child in children(world, op.branch):
                    made[child] = replace(made[child], parent=op.name)
        case "suspend" | "start":
            made[op.branch] = replace(state, active=op.kind == "start")
        case "write":
            made[op.branch] = replace(state, rows=state.rows | {op.number})
        case "create_role":
            made[op.branch] = replace(state, roles=state.roles | {op.name})
        case "delete_role":
            made[op.branch] = replace(state, roles=state.roles - {op.name})
        case "create_database":
            made[op.branch] = replace(state, databases=state.databases | {op.name})
        case "delete_database":
            made[op.branch] = replace(state, databases=state.databases - {op.name})
        case "rename_database":
            old, new = op.name.split(" ")
            made[op.branch] = replace(state, databases=state.databases - {old} | {new})
        case "reset_password":
            pass
        case _:
            raise AssertionError(op.kind)
    return made


def possible(world: World, number: int) -> Iterator[Op]:  # noqa: C901 - one line a kind
    """Every operation that the engine must take in *world*. *number* is one that was never used."""
    for name, state in world.items():
        default, alone = name == "main", not children(world, name)
        if len(world) < MOST_BRANCHES:
            yield Op("create", name, f"b{number}")
            yield Op("create", name, f"b{number}", compute=False)
        if not default:
            yield Op("rename", name, f"n{number}")
            if alone:
                yield Op("delete", name)
            if state.active and alone:
                yield Op("reset", name)
            if state.active and len(world) < MOST_BRANCHES:
                yield Op("preserve", name, f"k{number}")
        if state.active is not None and not default:
            yield Op("suspend" if state.active else "start", name)
        if state.active:
            yield Op("write", name, number=number)
        yield Op("create_role", name, f"r{number}")
        yield Op("create_database", name, f"d{number}")
        for role in sorted(state.roles - {OWNER}):
            yield Op("delete_role", name, role)
            yield Op("reset_password", name, role)
        for database in sorted(state.databases - {DATABASE}):
            yield Op("delete_database", name, database)
            yield Op("rename_database", name, f"{database} d{number}")


def choose(world: World, number: int, dice: random.Random) -> Op:
    """Draw an operation: first its kind, so that each kind has its turn, and twice as often a write."""
    ops = list(possible(world, number))
    kinds = sorted({op.kind for op in ops})
    kind = dice.choice([*kinds, "write", "write", "create", "delete"])
    return dice.choice([op for op in ops if op.kind == kind] or ops)


def to_be_seen(world: World) -> World:
    """What can be seen of *world* from without: the rows of a branch that sleeps cannot."""
    return {name: state if state.active else replace(state, rows=frozenset()) for name, state in world.items()}
