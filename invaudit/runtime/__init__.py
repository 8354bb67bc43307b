"""What every part shares: errors, seeds, settings, files, run folders, the console.

Nothing here imports torch or any other package of invaudit.
"""

from typing import TYPE_CHECKING

from invaudit.runtime.lazy import attach

if TYPE_CHECKING:
    from invaudit.runtime.environment import describe_environment
    from invaudit.runtime.errors import (
        ConfigError,
        ControlError,
        DataError,
        InputError,
        InvauditError,
        MissingDataError,
        MissingExtraError,
        MissingWeightsError,
        ModelError,
        NotApplicableError,
        RunFolderError,
        SettingError,
        ShapeError,
    )
    from invaudit.runtime.files import content_hash, read_json, write_bytes, write_json, write_text
    from invaudit.runtime.runs import RunFolder
    from invaudit.runtime.seeds import child_seed
    from invaudit.runtime.settings import Settings, dump_config, load_config

__all__ = [
    "ConfigError",
    "ControlError",
    "DataError",
    "InputError",
    "InvauditError",
    "MissingDataError",
    "MissingExtraError",
    "MissingWeightsError",
    "ModelError",
    "NotApplicableError",
    "RunFolder",
    "RunFolderError",
    "SettingError",
    "Settings",
    "ShapeError",
    "child_seed",
    "content_hash",
    "describe_environment",
    "dump_config",
    "load_config",
    "read_json",
    "write_bytes",
    "write_json",
    "write_text",
]
__getattr__, __dir__ = attach(__name__)
