"""What may be done with a branch, a role or a database, decided from records alone."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from tenantry.core.names import MAX_IDENTIFIER_BYTES
from tenantry.local.history.moments import read_moment
from tenantry.local.refusals import bad_field, conflict, not_allowed, not_found, not_served

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from tenantry.core.ids import BranchId
    from tenantry.local.history.moments import Moment
    from tenantry.local.state.records import BranchRecord, DatabaseRecord, RoleRecord
    from tenantry.neon import wire

__all__ = [
    "LONGEST_TTL",
    "RESERVED_DATABASES",
    "RESERVED_ROLES",
    "check_branch_create",
    "check_branch_delete",
    "check_expiry",
    "check_identifier",
    "check_name",
    "check_restore",
    "check_roots",
    "check_unused_name",
    "is_root",
    "passwords_after_clone",
    "passwords_of_the_past",
    "sole",
]

LONGEST_TTL = timedelta(days=30)
LONGEST_NAME = 256

RESERVED_ROLES = frozenset({"neon_superuser", "cloud_admin", "postgres", "public", "none", "current_user"})
RESERVED_DATABASES = frozenset({"postgres", "template0", "template1"})


def check_name(field: str, name: str | None) -> str | None:
    """Return *name* if a project, branch or endpoint may bear it: 1 to 256 characters of any script."""
    if name is None:
        return None
    if not 1 <= len(name) <= LONGEST_NAME or not name.strip():
        raise bad_field(field, f"a name has 1 to {LONGEST_NAME} characters, and this one has {len(name)}")
    if "\x00" in name:
        raise bad_field(field, "a name may not hold the character NUL")
    return name


def check_identifier(field: str, name: str, *, reserved: Iterable[str]) -> str:
    """Return *name* if a role or database may bear it: what Postgres neither cuts short nor keeps for itself."""
    size = len(name.encode())
    if not 1 <= size <= MAX_IDENTIFIER_BYTES:
        raise bad_field(field, f"{name!r} is {size} bytes long, and Postgres takes 1 to {MAX_IDENTIFIER_BYTES}")
    if "\x00" in name:
        raise bad_field(field, "a name may not hold the character NUL")
    if name in reserved or name.startswith("pg_"):
        raise bad_field(field, f"{name!r} is reserved: choose another")
    return name


def check_unused_name(name: str, branches: Iterable[BranchRecord], *, besides: BranchId | None = None) -> None:
    """Raise a 409 if a branch other than *besides* has *name*."""
    if any(branch.name == name and branch.id != besides for branch in branches):
        raise conflict(f'branch already exists; branch_name:"{name}"')


def check_expiry(
    expires_at: datetime | None,
    *,
    now: datetime,
    protected: bool,
    default: bool,
    has_children: bool,
) -> datetime | None:
    """Return *expires_at* in UTC if the branch may expire then."""
    if expires_at is None:
        return None
    if expires_at.tzinfo is None:
        raise bad_field("branch.expires_at", f"{expires_at.isoformat()} has no time zone: end it with Z")
    if not now < expires_at <= now + LONGEST_TTL:
        raise bad_field(
            "branch.expires_at",
            f"{expires_at.isoformat()} is not in the future and within {LONGEST_TTL.days} days of now",
        )
    if protected or default or has_children:
        which = "a protected branch" if protected else "the default branch" if default else "a branch with children"
        raise not_allowed(f"branch.expires_at: {which} cannot expire: leave expires_at out")
    return expires_at.astimezone(UTC)


INIT_SOURCES = ("parent-data", "schema-only", "parent-schema")


def check_branch_create(
    branch: wire.BranchCreate,
    branches: Sequence[BranchRecord],
    *,
    now: datetime,
) -> tuple[BranchRecord, datetime | None]:
    """Return the branch that another is to be made from, and when the new one expires."""
    if branch.init_source == "import":
        raise not_served("init_source 'import'", "make a branch, and load a dump into it")
    if branch.init_source is not None and branch.init_source not in INIT_SOURCES:
        raise bad_field("branch.init_source", f"{branch.init_source!r} is not one of {', '.join(INIT_SOURCES)}")
    if branch.archived:
        raise not_served("archived branches", "leave archived out")
    if branch.parent_id:
        parent = next((one for one in branches if one.id == branch.parent_id), None)
        if parent is None:
            raise not_found("parent branch", branch.parent_id)
    else:
        parent = next(one for one in branches if one.is_default)
    if parent.expires_at is not None and branch.init_source != "schema-only":
        raise not_allowed(
            f"branch {parent.name!r} ({parent.id}) expires, so it may have no children: "
            "clear its expires_at, or fork another branch"
        )
    name = check_name("branch.name", branch.name)
    if name is not None:
        check_unused_name(name, branches)
    expires_at = check_expiry(
        branch.expires_at, now=now, protected=bool(branch.protected), default=False, has_children=False
    )
    return parent, expires_at


def check_branch_delete(branch: BranchRecord, branches: Iterable[BranchRecord]) -> None:
    """Raise a 422 if *branch* must stay."""
    label = f"branch {branch.name!r} ({branch.id})"
    if branch.is_default:
        raise not_allowed(f"{label} is the default branch: set another as default first, or delete the project")
    if (
        branch.parent_id is None
        and branch.init_source == "parent-data"
        and not (branch.restored_from or branch.restored_as)
    ):
        raise not_allowed(f"{label} is the project's first branch: only the project's end removes it")
    if branch.protected:
        raise not_allowed(f"{label} is protected: set protected to false first")
    children = sorted(child.name for child in branches if child.parent_id == branch.id)
    if children:
        raise not_allowed(f"{label} has children ({', '.join(children)}): delete them first")


def is_root(branch: BranchRecord, branches: Iterable[BranchRecord]) -> bool:
    """Whether Neon counts *branch* as a root: it has no parent, or it took the place of one that has none."""
    if branch.parent_id is None:
        return True
    return any(one.restored_as == branch.id and one.parent_id is None and one.restored_from is None for one in branches)


def check_roots(wanted: str, concerned: Iterable[BranchRecord], branches: Sequence[BranchRecord]) -> None:
    """Raise a 422 unless all that are *concerned* are roots: of a child Neon knows the head alone."""
    for one in concerned:
        if not is_root(one, branches):
            raise not_allowed(
                f"{wanted}: branch {one.name!r} ({one.id}) is a child, and only root branches support this: "
                "make a branch from that moment instead, or open the engine with --allow-child-restore"
            )


@dataclass(frozen=True, slots=True)
class Restore:
    """A restore that may be done: from what, and which branches move to the backup, if one is wanted."""

    source: BranchRecord
    moment: Moment | None
    preserve_under_name: str | None
    children: tuple[BranchRecord, ...]


def check_restore(
    branch: BranchRecord,
    request: wire.BranchRestoreRequest,
    branches: Sequence[BranchRecord],
    *,
    now: datetime,
    allow_children: bool,
) -> Restore:
    """Return how *branch* is to be restored."""
    source = next((one for one in branches if one.id == request.source_branch_id), None)
    if source is None:
        raise not_found("source branch", request.source_branch_id)
    label = f"branch {branch.name!r} ({branch.id})"
    preserve = check_name("preserve_under_name", request.preserve_under_name or None)
    if branch.protected:
        raise not_allowed(f"{label} is protected: set protected to false before it is restored")
    if source.id == branch.id and preserve is None:
        raise bad_field(
            "preserve_under_name", f"{label} cannot be restored onto itself without it: name the branch that keeps it"
        )
    moment = read_moment(
        request.source_timestamp,
        request.source_lsn,
        timestamp_field="source_timestamp",
        lsn_field="source_lsn",
        now=now,
    )
    if moment is not None and not allow_children:
        check_roots(moment.field, (branch, source), branches)
    if moment is None and source.id == branch.id:
        raise bad_field(
            "source_timestamp", f"{label} is its own source, so source_timestamp or source_lsn must say which moment"
        )
    children = tuple(one for one in branches if one.parent_id == branch.id)
    if children and preserve is None:
        raise not_allowed(
            f"{label} has children ({', '.join(sorted(one.name for one in children))}): "
            "give preserve_under_name, the name of the branch that keeps its state and its children"
        )
    if preserve is not None:
        check_unused_name(preserve, branches)
    return Restore(source, moment, preserve, children)


def passwords_after_clone(
    source_roles: Iterable[RoleRecord],
    *,
    own: Mapping[str, str],
    source_protected: bool,
    fresh: Mapping[str, str],
) -> dict[str, str]:
    """Return the passwords to set in a clone, by role; a role that is left out keeps its source's.

    *own* are the passwords that the branch had before, which its connection strings carry. *fresh* has a new one
    for each role, used where the source is protected: its passwords open nothing but itself.
    """
    wanted: dict[str, str] = {}
    for role in source_roles:
        if role.password is None:
            continue
        kept = own.get(role.name)
        if kept is not None:
            target = kept
        elif source_protected:
            target = fresh[role.name]
        else:
            continue
        if target != role.password:
            wanted[role.name] = target
    return wanted


def passwords_of_the_past(
    found: Iterable[tuple[str, bool]], *, known: Mapping[str, str], fresh: Mapping[str, str]
) -> dict[str, str]:
    """Return the passwords to set in a cluster of the past, by role, for those *found* that can log in.

    What a password was then, nobody knows any more, only its verifier: a role gets the one that is *known* now, and
    a role that is gone since, or whose branch is protected, the *fresh* one.
    """
    return {name: known.get(name) or fresh[name] for name, can_login in found if can_login}


def sole(roles: Sequence[RoleRecord], databases: Sequence[DatabaseRecord]) -> tuple[RoleRecord, DatabaseRecord] | None:
    """Return the one role and the one database, or None if a connection URI would have to choose."""
    can_log_in = [role for role in roles if role.password is not None]
    return (can_log_in[0], databases[0]) if len(can_log_in) == 1 and len(roles) == 1 and len(databases) == 1 else None
