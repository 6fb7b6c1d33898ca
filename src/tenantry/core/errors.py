"""Every error that tenantry raises, as one tree.

    TenantryError
    ├── UsageError                    the caller gave something wrong; nothing was done
    │   ├── LayoutError               tenantry.toml has mistakes, all of them listed
    │   ├── InvalidNameError          a name breaks a rule of core.names
    │   └── SettingError              a setting or environment variable is missing or wrong
    ├── TenantContextError            a statement has no tenant, or another than its transaction
    │   ├── NoTenantError
    │   ├── TenantChangedError
    │   └── ForeignTenantError        a row of another tenant was about to be written
    ├── EnvironmentProblem            this machine lacks something: Postgres, disk, a port
    └── StepFailedError               a step of an apply failed; what it was and why

`neon.errors` and `local.errors` add their own branches below these. Each message names the value and the way
out, and holds no secret.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = [
    "EnvironmentProblem",
    "ForeignTenantError",
    "InvalidNameError",
    "LayoutError",
    "LayoutMistake",
    "NoTenantError",
    "SettingError",
    "StepFailedError",
    "TenantChangedError",
    "TenantContextError",
    "TenantryError",
    "UsageError",
]


class TenantryError(Exception):
    """The root of the tree. `exit_status` is what the command line ends with."""

    exit_status: ClassVar[int] = 1


class UsageError(TenantryError):
    """The caller gave something wrong, and nothing was done."""

    exit_status: ClassVar[int] = 64


class InvalidNameError(UsageError):
    """A name breaks the rule for its kind; *way_out* says which name would do."""

    def __init__(self, kind: str, value: str, *, why: str, way_out: str) -> None:
        super().__init__(f"{kind} {value!r} {why}: {way_out}")
        self.kind = kind
        self.value = value
        self.why = why
        self.way_out = way_out


class SettingError(UsageError):
    """A setting is missing or cannot be used."""

    def __init__(self, setting: str, *, why: str, way_out: str) -> None:
        super().__init__(f"{setting} {why}: {way_out}")
        self.setting = setting
        self.why = why
        self.way_out = way_out


@dataclass(frozen=True, slots=True)
class LayoutMistake:
    """One mistake in a layout file: its line (from 1), its dotted key, what is wrong, and the way out."""

    line: int
    key: str
    message: str
    way_out: str

    def __str__(self) -> str:
        return f"line {self.line}: {self.key}: {self.message}; {self.way_out}"


class LayoutError(UsageError):
    """A layout file has mistakes. `mistakes` holds all of them, in the order of their lines."""

    def __init__(self, source: str, mistakes: Sequence[LayoutMistake]) -> None:
        self.source = source
        self.mistakes = tuple(mistakes)
        count = len(self.mistakes)
        head = f"{source} has {count} mistake{'' if count == 1 else 's'}:"
        super().__init__("\n".join([head, *(f"  {mistake}" for mistake in self.mistakes)]))


class TenantContextError(TenantryError):
    """A statement would have run outside the context that it needs. It was not sent."""


class NoTenantError(TenantContextError):
    """No tenant is set, or its scope has ended. Nothing was sent to the database.

    `ended` is the tenant of the scope that this work was started in, if it has ended since.
    """

    def __init__(self, *, ended: object = None) -> None:
        if ended is None:
            super().__init__(
                "no tenant is set: wrap the work in `with tenant_scope(tenant):`; for a thread or an executor, give "
                "it `in_scope(function)`; in a background job, `with job_scope(payload, check=...):`"
            )
        else:
            super().__init__(
                f"no tenant is set: the scope of tenant {ended} that this work was started in has ended; wrap what "
                "outlives it, a task, a thread or a stream, in `in_scope(...)`, or open a `with tenant_scope(tenant):` "
                "of its own"
            )
        self.ended = ended


class TenantChangedError(TenantContextError):
    """The transaction began for one tenant and the scope is now another's. Nothing was sent."""

    def __init__(self, *, began_for: object, now: object) -> None:
        super().__init__(
            f"this transaction began for tenant {began_for}, and the scope is now that of {now or 'no tenant'}: "
            "commit or roll back before you leave a `with tenant_scope(...):`, and give each tenant its own session"
        )
        self.began_for = began_for
        self.now = now


class ForeignTenantError(TenantContextError):
    """A row of another tenant was about to be written. Nothing was sent."""

    def __init__(self, *, table: str, row_tenant: object, tenant: object) -> None:
        super().__init__(
            f"a row of {table} carries tenant {row_tenant}, but the scope is that of tenant {tenant}: "
            f"leave the tenant column out, or write it inside `with tenant_scope({row_tenant!r}):`"
        )
        self.table = table
        self.row_tenant = row_tenant
        self.tenant = tenant


class EnvironmentProblem(TenantryError):  # noqa: N818 - "problem" is the word: it is the machine's, not the caller's
    """This machine lacks something that the work needs: a Postgres, room on a disk, a free port."""

    exit_status: ClassVar[int] = 69

    def __init__(self, what: str, *, way_out: str) -> None:
        super().__init__(f"{what}: {way_out}")
        self.what = what
        self.way_out = way_out


class StepFailedError(TenantryError):
    """A step of an apply failed. What came before it stays; the next plan shows it and what follows again."""

    def __init__(self, step: str, *, reason: str) -> None:
        super().__init__(
            f"{step} failed: {reason}\nmend the cause and run `tenantry apply` again: it goes on from here"
        )
        self.step = step
        self.reason = reason
