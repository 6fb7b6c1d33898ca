"""The master key, and the passwords and context keys that are derived from it."""

from __future__ import annotations

import base64
import hashlib
import hmac
import os
import secrets
import stat
from typing import TYPE_CHECKING

from tenantry.core.errors import SettingError
from tenantry.session.signing import ContextKey

if TYPE_CHECKING:
    from pathlib import Path

    from tenantry.core.ids import BranchId, ProjectId

__all__ = ["KEY_SETTING", "Secrets"]

KEY_SETTING = "TENANTRY_SECRET_KEY"

_SHORTEST_KEY = 32
_OTHERS = stat.S_IRWXG | stat.S_IRWXO


class Secrets:
    """Derives a password for every role of every branch from one master key.

    Nothing is stored: an apply that died has lost no password, and no two branches share one. Whoever has the key
    has them all, so it stands in the environment or in a file that only its owner can read.
    """

    __slots__ = ("_master",)

    def __init__(self, master: bytes) -> None:
        self._master = master

    def __repr__(self) -> str:
        return "Secrets(<hidden>)"

    def __reduce__(self) -> str:
        raise TypeError("a master key is not pickled: pass the setting and make Secrets again")

    @classmethod
    def from_value(cls, value: str) -> Secrets:
        """Take the key from *value*, at least 32 characters. Raises `SettingError`."""
        key = value.strip()
        if len(key) < _SHORTEST_KEY:
            raise SettingError(
                KEY_SETTING,
                why=f"has {len(key)} characters and needs {_SHORTEST_KEY} or more",
                way_out="make one with `openssl rand -base64 32`",
            )
        return cls(key.encode())

    @classmethod
    def from_file(cls, path: Path) -> Secrets:
        """Read the key from *path*, and make the file with mode 600 if it is not there.

        Two processes that make it at once read the same key. Raises `SettingError` if others may read it.
        """
        if not path.exists():
            _make(path)
        mode = stat.S_IMODE(path.stat().st_mode)
        if mode & _OTHERS:
            raise SettingError(
                str(path), why=f"has mode {mode:03o}, so others can use the key", way_out=f"run `chmod 600 {path}`"
            )
        try:
            return cls.from_value(path.read_text(encoding="utf-8"))
        except SettingError as error:
            raise SettingError(str(path), why=error.why, way_out=error.way_out) from None

    def password(self, project: ProjectId, branch: BranchId, role: str) -> str:
        """Return the password of *role* on *branch*: 43 characters of base64url, 256 bits, the same every time."""
        # NUL stands in no id and no role name, so no two triples make the same message.
        message = f"tenantry password 1\x00{project}\x00{branch}\x00{role}".encode()
        digest = hmac.new(self._master, message, hashlib.sha256).digest()
        return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()

    def context_key(
        self, project: ProjectId, branch: BranchId, *, database: str, schema: str, number: int
    ) -> ContextKey:
        """Return the key with which the app of *schema* signs its context on *branch*: the same every time.

        *number* tells the keys of one app apart, of which two are good while one takes the place of the other.
        """
        message = f"tenantry context key 1\x00{project}\x00{branch}\x00{database}\x00{schema}\x00{number}".encode()
        return ContextKey(f"{database}/{schema}", hmac.digest(self._master, message, "sha256"))


def _make(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    draft = path.with_name(f"{path.name}.{os.getpid()}.{secrets.token_hex(4)}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(secrets.token_urlsafe(32) + "\n")
            file.flush()
            os.fsync(file.fileno())
        # A link, not a rename: it fails if another process was first, and that one's key is then used.
        try:
            os.link(draft, path)
        except FileExistsError:
            return
    finally:
        draft.unlink()
