"""Settings of ``invaudit explain``."""

from collections.abc import Iterator
from typing import Any

from pydantic import Field

from invaudit.explain.adversary import AdversarySettings
from invaudit.explain.attacks import chosen_attack
from invaudit.explain.border_paths import GeneratorBorderSettings
from invaudit.explain.border_pixels import PixelBorderSettings
from invaudit.explain.counterfeits import COUNTERFEIT
from invaudit.explain.masks import MaskSettings
from invaudit.explain.second import SecondSettings
from invaudit.inversion import InversionSettings
from invaudit.inversion.shipped import Engine, SearchSettings, shipped_settings
from invaudit.runtime.errors import InputError
from invaudit.runtime.settings import OneSeed, Settings


class ExplainSettings(Settings):
    """What is looked at in a network, and how closely."""

    by: Engine = "generator"
    """Search for images with a conditioned generator, or move the pixels of each image by itself: for sides over 100,
    and for networks that a generator does not learn within the time."""
    inversion: dict[str, Any] = Field(default={})
    """What differs of the search from the config that ``invaudit invert`` takes, e.g. ``inversion.steps: 100``."""
    images: int = Field(default=10, ge=2, le=1_000)
    """Inversions of each class that are kept and shown; each has its nearest real image beside it."""
    measured: int = Field(default=100, ge=2, le=10_000)
    """Inversions of each class that a generator draws for the figures: a share of them is known to 10 points then. A
    search by pixels has those that it found."""
    second: SecondSettings = SecondSettings()
    """How a second network is trained, where images to train it on are given."""
    borders: PixelBorderSettings = PixelBorderSettings()
    """How border images are searched for by pixels."""
    generator_borders: GeneratorBorderSettings = GeneratorBorderSettings()
    """How they are drawn by a generator."""
    planes: int = Field(default=3, ge=0, le=100)
    """Planes through start, border and goal, of the nearest pairs."""
    grid: int = Field(default=41, ge=2, le=1_000)
    """Points along each side of a plane."""
    attacks: dict[str, dict[str, Any]] = Field(default={"pgd": {}, "ddn": {}, "fmn": {"steps": 100}})
    """Attacks by name, each with what differs from its own settings; 100 steps of FMN are the quick choice."""
    attacked: int = Field(default=100, ge=1, le=1_000_000)
    """Real images that are attacked, evenly spread: a success rate is known to 10 points then."""
    adversary: AdversarySettings = AdversarySettings()
    """How a generator of adversarial samples is trained, on the real images that are not attacked."""
    counterfeits: InversionSettings = COUNTERFEIT
    """How a generator of counterfeits is trained."""
    masks: MaskSettings = MaskSettings()
    """How the part of an image that keeps a decision is searched for."""
    budget: float = Field(default=0.0, ge=0, le=10_000_000)
    """Seconds that all of it may take, about; the steps of all searches are cut by one share for it. 0: no limit."""
    masked: int = Field(default=4, ge=0, le=1_000)
    """Images whose masks are searched for, where none are named."""
    seeds: OneSeed = (0,)

    def problems(self) -> Iterator[str]:
        """Yield what is wrong with settings of the search and of the attacks."""
        try:
            for channels in (1, 3):
                self.search(channels)
            for name, values in self.attacks.items():
                chosen_attack(name, values)
        except (InputError, ValueError) as error:
            yield str(error)

    def search(self, channels: int) -> SearchSettings:
        """Return how images with so many channels are searched for."""
        return shipped_settings(self.by, channels, **self.inversion)
