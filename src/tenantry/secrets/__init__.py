"""Where passwords and keys come from. They are never in the layout, logs, reprs or errors."""

from tenantry.secrets.keys import KEY_SETTING, Secrets

__all__ = ["KEY_SETTING", "Secrets"]
