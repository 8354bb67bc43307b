"""Every error that invaudit raises on purpose.

    InvauditError
    ├── InputError            bad input: the command exits with 2 and one message
    │   ├── ConfigError       a config file or an option
    │   ├── DataError         images or labels
    │   │   └── MissingDataError   a data set or model file that is not there (a benchmark skips its row)
    │   │       └── MissingWeightsError   the trunk weights of LPIPS
    │   ├── ModelError        a model file or an architecture
    │   ├── ShapeError        an array of the wrong shape
    │   ├── SettingError      a value outside its range
    │   ├── MissingExtraError an optional package that is not installed
    │   └── RunFolderError    the output folder
    ├── NotApplicableError    a detector has nothing to work on in a network: its row says what it would need
    └── ControlError          a control of a benchmark failed: its numbers cannot be trusted

    KeyboardInterrupt
    └── Interrupted           a run was interrupted that can be resumed; it knows its folder

A message says what was got, what was expected and what to do.
"""

from pathlib import Path


class InvauditError(Exception):
    """Root of all errors of invaudit."""


class InputError(InvauditError):
    """Bad input: the caller can fix it."""


class ConfigError(InputError):
    """A config file or a command line option is wrong."""


class DataError(InputError):
    """Images or labels are wrong."""


class MissingDataError(DataError):
    """A data set or a model file is not where it was looked for."""


class MissingWeightsError(MissingDataError):
    """The trunk weights of LPIPS are not where they were looked for."""


class ModelError(InputError):
    """A model file or an architecture is wrong."""


class ShapeError(InputError):
    """An array has the wrong shape."""


class SettingError(InputError):
    """A value lies outside its range."""


class MissingExtraError(InputError):
    """An optional package is not installed."""


class RunFolderError(InputError):
    """The output folder cannot be used."""


class NotApplicableError(InvauditError):
    """A detector has nothing to work on in a network; the message says what it would need."""


class ControlError(InvauditError):
    """A control of a benchmark failed."""


class Interrupted(KeyboardInterrupt):
    """A run was interrupted, and can be resumed.

    Args:
        folder: Its folder.
    """

    def __init__(self, folder: Path) -> None:
        super().__init__(str(folder))
        self.folder = folder
