"""The control plane: what is wanted against what is there, and carrying out the difference."""

from tenantry.control.apply import Applied, Progress
from tenantry.control.branches import BranchNode, Reset
from tenantry.control.errors import (
    ApplyRunningError,
    LayoutMismatchError,
    NotAppliedError,
    ResetRefusedError,
    UnknownEnvironmentError,
)
from tenantry.control.plan import Plan, make_plan
from tenantry.control.plane import ControlPlane, RoleKind

__all__ = [
    "Applied",
    "ApplyRunningError",
    "BranchNode",
    "ControlPlane",
    "LayoutMismatchError",
    "NotAppliedError",
    "Plan",
    "Progress",
    "Reset",
    "ResetRefusedError",
    "RoleKind",
    "UnknownEnvironmentError",
    "make_plan",
]
