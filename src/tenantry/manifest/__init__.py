"""tenantry.toml, read into a layout, with every mistake reported at once."""

from tenantry.manifest.reader import parse_layout, read_layout

__all__ = ["parse_layout", "read_layout"]
