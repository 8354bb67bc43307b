"""Settings of an inversion: what is refused, and that they can be written and read."""

import pytest
from pydantic import ValidationError

from invaudit.inversion import InversionSettings


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"mode": "matrices"}, "known: label, vector"),
        ({"generator": "gan"}, "known: upsample"),
        ({"weights": {"kl": 1.0, "sharpness": 1.0}}, "unknown objective 'sharpness'; known: kl"),
        ({"weights": {"kl": -1.0}}, "finite number >= 0"),
        ({"weights": {"kl": float("nan")}}, "finite number"),
        ({"weights": {"cosine": 1.0, "kl": 0.0}}, "nothing asks for a class"),
        ({"temperature": 0.0}, "greater than 0"),
        ({"dropout": 1.0}, "less than 1"),
        ({"step": 3}, "Extra inputs"),
    ],
)
def test_wrong_settings_are_refused(fields, message):
    with pytest.raises(ValidationError, match=message):
        InversionSettings(**fields)


def test_settings_survive_a_round_trip():
    assert InversionSettings.model_validate(InversionSettings().model_dump(mode="json")) == InversionSettings()
