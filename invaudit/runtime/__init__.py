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
        ModelError,
        RunFolderError,
        SettingError,
        ShapeError,
    )
    from invaudit.runtime.files import content_hash, read_json, write_bytes, write_json, write_text
    from invaudit.runtime.runs import RunFolder
    from invaudit.runtime.seeds import child
    from invaudit.runtime.settings import Settings, dump_config, load_config

__getattr__, __all__ = attach(
    __name__,
    {
        "ConfigError": "errors",
        "ControlError": "errors",
        "DataError": "errors",
        "InputError": "errors",
        "InvauditError": "errors",
        "MissingDataError": "errors",
        "MissingExtraError": "errors",
        "ModelError": "errors",
        "RunFolder": "runs",
        "RunFolderError": "errors",
        "SettingError": "errors",
        "Settings": "settings",
        "ShapeError": "errors",
        "child": "seeds",
        "content_hash": "files",
        "describe_environment": "environment",
        "dump_config": "settings",
        "load_config": "settings",
        "read_json": "files",
        "write_bytes": "files",
        "write_json": "files",
        "write_text": "files",
    },
)
