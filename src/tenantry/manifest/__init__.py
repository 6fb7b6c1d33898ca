"""tenantry.toml, read into a layout, with every mistake reported at once."""
