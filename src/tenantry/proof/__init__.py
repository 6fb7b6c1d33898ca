"""Attacks: attempts to reach another tenant, through the real driver."""
