"""Ids and passwords in Neon's forms, drawn at random."""

from __future__ import annotations

import secrets
import string
import uuid

from tenantry.core.ids import BranchId, EndpointId, OperationId, ProjectId

__all__ = [
    "new_api_key",
    "new_branch_id",
    "new_endpoint_id",
    "new_operation_id",
    "new_password",
    "new_project_id",
    "new_snapshot_id",
]

_ADJECTIVES = (  # noqa: SIM905 - words read better than a column of quotes
    "ancient autumn bitter blue bold broad broken calm cold cool crimson curly damp dark dawn delicate divine dry "
    "empty falling flat floral fragrant frosty gentle green hidden holy icy jolly late lingering little lively long "
    "lucky misty morning muddy mute nameless noisy odd old orange patient plain polished proud purple quiet rapid "
    "raspy red restless rough round royal shiny shrill shy silent small snowy soft solitary sparkling spring square "
    "steep still summer super sweet throbbing tight tiny twilight wandering weathered white wild winter wispy "
    "withered yellow young"
).split()
_NOUNS = (  # noqa: SIM905 - words read better than a column of quotes
    "art band bar base bird block boat bonus bread breeze brook bush butterfly cake cell cherry cloud credit darkness "
    "dawn dew disk dream dust feather field fire firefly flower fog forest frog frost glade glitter grass hall hat "
    "haze heart hill king lab lake leaf limit math meadow mode moon morning mountain mouse mud night paper pine poetry "
    "pond queen rain recipe resonance rice river salad scene sea shadow shape silence sky smoke snow snowflake sound "
    "star sun sunset surf term thunder tooth tree truth union unit violet voice water waterfall wave wildflower wind "
    "wood"
).split()
_BASE36 = string.digits + string.ascii_lowercase


def _words() -> str:
    return f"{secrets.choice(_ADJECTIVES)}-{secrets.choice(_NOUNS)}"


def _suffix(alphabet: str) -> str:
    return "".join(secrets.choice(alphabet) for _ in range(8))


def new_project_id() -> ProjectId:
    """`quiet-river-12345678`."""
    return ProjectId(f"{_words()}-{_suffix(string.digits)}")


def new_branch_id() -> BranchId:
    """`br-quiet-river-a1b2c3d4`."""
    return BranchId(f"br-{_words()}-{_suffix(_BASE36)}")


def new_snapshot_id() -> str:
    """`snap-quiet-river-a1b2c3d4`."""
    return f"snap-{_words()}-{_suffix(_BASE36)}"


def new_endpoint_id() -> EndpointId:
    """`ep-quiet-river-a1b2c3d4`."""
    return EndpointId(f"ep-{_words()}-{_suffix(_BASE36)}")


def new_operation_id() -> OperationId:
    """A random UUID."""
    return OperationId(str(uuid.uuid4()))


def new_password() -> str:
    """A role's password: `npg_` and 142 random bits, in characters that a URI need not escape."""
    alphabet = string.ascii_letters + string.digits
    return "npg_" + "".join(secrets.choice(alphabet) for _ in range(24))


def new_api_key() -> str:
    """A Bearer key of 256 random bits."""
    return f"tenantry_local_{secrets.token_urlsafe(32)}"
