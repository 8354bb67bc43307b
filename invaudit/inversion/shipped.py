"""Which shipped config a search takes where none is named: that of its engine, for images in colour or in grey."""

from collections.abc import Mapping
from typing import Any, Literal

from invaudit.inversion.pixel_inversion import PixelInversionSettings
from invaudit.inversion.settings import InversionSettings
from invaudit.runtime.settings import load_config

Engine = Literal["generator", "pixels"]
"""What is searched for: the weights of one generator, or the pixels of each image."""

SearchSettings = InversionSettings | PixelInversionSettings
"""Settings of a search, by either engine."""

SETTINGS: Mapping[Engine, type[SearchSettings]] = {"generator": InversionSettings, "pixels": PixelInversionSettings}

COLOUR: Mapping[Engine, str] = {"generator": "invert/default", "pixels": "invert/pixels"}
"""Configs for images in colour."""
GREY: Mapping[Engine, str] = {"generator": "invert/grey", "pixels": "invert/grey-pixels"}
"""Configs for images of one channel. Their networks are small, and few layers say less of what a picture is."""


def shipped_config(by: Engine, channels: int) -> str:
    """Return the name of the config for images with so many channels."""
    return (GREY if channels == 1 else COLOUR)[by]


def shipped_settings(by: Engine, channels: int, **changes: Any) -> SearchSettings:
    """Return the settings of this config, with changes.

    Raises:
        ConfigError: A change is none that the settings take.
    """
    return load_config(SETTINGS[by], shipped_config(by, channels), (), **changes)
