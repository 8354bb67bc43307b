"""What every part shares: errors, seeds, settings, files, run folders, the console.

Nothing here imports torch or any other package of invaudit.
"""

from invaudit.runtime.environment import describe_environment
from invaudit.runtime.errors import (
    ConfigError,
    ControlError,
    DataError,
    InputError,
    InvauditError,
    MissingDataError,
    MissingExtraError,
    ModelError,
    RunFolderError,
    SettingError,
    ShapeError,
)
from invaudit.runtime.files import content_hash, read_json, write_bytes, write_json, write_text
from invaudit.runtime.runs import RunFolder
from invaudit.runtime.seeds import child
from invaudit.runtime.settings import Settings, dump_config, load_config

__all__ = [
    "ConfigError",
    "ControlError",
    "DataError",
    "InputError",
    "InvauditError",
    "MissingDataError",
    "MissingExtraError",
    "ModelError",
    "RunFolder",
    "RunFolderError",
    "SettingError",
    "Settings",
    "ShapeError",
    "child",
    "content_hash",
    "describe_environment",
    "dump_config",
    "load_config",
    "read_json",
    "write_bytes",
    "write_json",
    "write_text",
]
