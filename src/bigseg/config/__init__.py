"""The configuration: one pydantic model per stage is the schema, the defaults, the documentation and the payload."""

from bigseg.config.load import load_config, read_settings, validate_config
from bigseg.config.models import Config

__all__ = ["Config", "load_config", "read_settings", "validate_config"]
