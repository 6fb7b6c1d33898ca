"""Neon's identifiers, a type each, so that a branch's id is never passed where an endpoint's is wanted."""

from typing import NewType

__all__ = ["BranchId", "EndpointId", "OperationId", "ProjectId"]

ProjectId = NewType("ProjectId", str)
"""`<word>-<word>-<8 digits>`, e.g. `quiet-river-12345678`."""

BranchId = NewType("BranchId", str)
"""`br-<word>-<word>-<8 characters>`; Neon's CLI takes what matches `^br-[a-z0-9]+-[a-z0-9]+-[a-z0-9]+$` for an id."""

EndpointId = NewType("EndpointId", str)
"""`ep-<word>-<word>-<8 characters>`."""

OperationId = NewType("OperationId", str)
"""A UUID."""
