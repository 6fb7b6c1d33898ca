"""Bringing an app's schema to head."""
