"""A model of one project: what each operation makes of it, as values. The fault test compares the engine with it."""

import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace

MOST_BRANCHES = 5
MOST_SNAPSHOTS = 2
MOST_READERS = 1
CROWD = 8
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
    reader: bool = False


@dataclass(frozen=True, slots=True)
class Point:
    """A moment of a branch's past, as a time and as a position in its WAL, and what the branch held then."""

    time: str
    lsn: str
    state: BranchState


@dataclass(frozen=True, slots=True)
class World:
    """The project: its name, its branches and its snapshots by name. `active` is None where there is no endpoint.

    `points` are moments of the branches' past, which the engine is not asked for before it is to go back to one.
    """

    branches: Mapping[str, BranchState]
    snapshots: Mapping[str, BranchState] = field(default_factory=dict[str, BranchState])
    project: str = ""
    points: Mapping[str, tuple[Point, ...]] = field(default_factory=dict[str, tuple[Point, ...]], compare=False)


@dataclass(frozen=True, slots=True)
class Op:
    """An operation of *kind* on *branch*. *name* is what it makes or removes, *number* the row that it writes.

    Of a snapshot *name* is the branch that it is restored to, and *snapshot* its own. *point* is where a branch begins.
    """

    kind: str
    branch: str
    name: str = ""
    number: int = 0
    compute: bool = field(default=True)
    snapshot: str = ""
    point: Point | None = None

    @property
    def numbers(self) -> tuple[int, ...]:
        """The rows that it writes: a crowd of clients writes several."""
        return tuple(self.number * 100 + each for each in range(CROWD)) if self.kind == "crowd" else (self.number,)


def children(world: World, name: str) -> list[str]:
    return [child for child, state in world.branches.items() if state.parent == name]


def after(world: World, op: Op) -> World:
    """The world once *op* is done."""
    snapshots, points = dict(world.snapshots), dict(world.points)
    match op.kind:
        case "snapshot":
            snapshots[op.name] = replace(world.branches[op.branch], parent=None, active=None, reader=False)
        case "delete_snapshot":
            del snapshots[op.snapshot]
        case "rename_project":
            return replace(world, project=op.name)
        case "rename":
            points[op.name] = points.pop(op.branch, ())
        case "delete" | "reset" | "preserve":
            points.pop(op.branch, None)
        case _:
            pass
    return World(_branches_after(world, op), snapshots, world.project, points)


def _branches_after(world: World, op: Op) -> Mapping[str, BranchState]:  # noqa: C901, PLR0912 - one case a kind
    made = dict(world.branches)
    if op.kind == "restore_snapshot":
        made[op.name] = world.snapshots[op.snapshot]
    if op.branch not in made:
        return made
    state = made[op.branch]
    match op.kind:
        case "create_at":
            assert op.point is not None
            made[op.name] = replace(op.point.state, parent=op.branch, active=True, reader=False)
        case "create_reader" | "delete_reader":
            made[op.branch] = replace(state, reader=op.kind == "create_reader")
        case "snapshot" | "delete_snapshot" | "restore_snapshot":
            pass
        case "create":
            made[op.name] = replace(state, parent=op.branch, active=True if op.compute else None, reader=False)
        case "delete":
            del made[op.branch]
        case "rename":
            del made[op.branch]
            made[op.name] = state
            for child in children(world, op.branch):
                made[child] = replace(made[child], parent=op.name)
        case "reset" | "preserve":
            assert state.parent is not None
            source = world.branches[state.parent]
            made[op.branch] = replace(source, parent=state.parent, active=state.active, reader=False)
            if op.kind == "preserve":
                made[op.name] = replace(state, active=None)
                for child in children(world, op.branch):
                    made[child] = replace(made[child], parent=op.name)
        case "suspend" | "start":
            made[op.branch] = replace(state, active=op.kind == "start")
        case "write" | "crowd":
            made[op.branch] = replace(state, rows=state.rows | set(op.numbers))
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


def possible(world: World, number: int) -> Iterator[Op]:
    """Every operation that the engine must take in *world*. *number* is one that was never used."""
    yield Op("rename_project", "", f"p{number}")
    room = len(world.branches) < MOST_BRANCHES
    for name in world.branches:
        yield from _possible_on(world, name, number, room=room)
    for snapshot in world.snapshots:
        yield Op("delete_snapshot", "", snapshot=snapshot)
        if room:
            yield Op("restore_snapshot", "", f"s{number}", snapshot=snapshot)


def _possible_on(world: World, name: str, number: int, *, room: bool) -> Iterator[Op]:  # noqa: C901, PLR0912 - one line a kind
    state = world.branches[name]
    default, alone = name == "main", not children(world, name)
    if room:
        yield Op("create", name, f"b{number}")
        yield Op("create", name, f"b{number}", compute=False)
        for point in world.points.get(name, ()):
            yield Op("create_at", name, f"t{number}", number, point=point)
    if state.parent is None and len(world.snapshots) < MOST_SNAPSHOTS:
        yield Op("snapshot", name, f"snap{number}")
    if not default:
        yield Op("rename", name, f"n{number}")
        if alone:
            yield Op("delete", name)
        if state.parent is not None and state.active and not state.reader:
            if alone:
                yield Op("reset", name)
            if room:
                yield Op("preserve", name, f"k{number}")
    if state.active is not None and not default and not state.reader:
        yield Op("suspend" if state.active else "start", name)
    if state.active:
        yield Op("write", name, number=number)
        yield Op("crowd", name, number=number)
        if state.reader or sum(one.reader for one in world.branches.values()) < MOST_READERS:
            yield Op("delete_reader" if state.reader else "create_reader", name)
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
    """What can be seen of *world* from without: the rows of a branch that sleeps, or of a snapshot, cannot."""
    hidden = frozenset[int]()
    branches = {name: state if state.active else replace(state, rows=hidden) for name, state in world.branches.items()}
    snapshots = {name: BranchState(None, active=None) for name in world.snapshots}
    return World(branches, snapshots, world.project)


def as_far_as_seen(world: World, op: Op, seen: World, *, acknowledged: set[int]) -> World:
    """*world* with those rows of a crowd that was broken off, *op*, that are there: all that were acknowledged are."""
    there = seen.branches.get(op.branch)
    if op.kind != "crowd" or there is None:
        return world
    state = world.branches[op.branch]
    written = there.rows & set(op.numbers)
    assert written >= acknowledged, f"{op}: rows {acknowledged - written} were committed, and are gone"
    return replace(world, branches={**world.branches, op.branch: replace(state, rows=state.rows | written)})
