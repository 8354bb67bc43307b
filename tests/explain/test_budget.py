"""A budget: the share of all steps that it leaves, and the settings that are cut by it."""

import pytest

from invaudit.explain.budget import LEAST_SHARE, attack_passes, cut, passes, seconds_per_pass, share_within
from invaudit.explain.settings import ExplainSettings

SETTINGS = ExplainSettings()


def test_what_a_share_leaves_takes_about_the_budget(trained):
    one_pass = 0.01
    whole = one_pass * sum(passes(SETTINGS, trained, has_real=True).values())
    fixed = one_pass * attack_passes(trained)
    share = share_within(fixed + whole / 4, trained, SETTINGS, has_real=True, one_pass=one_pass)
    assert share == pytest.approx(0.25)
    fewer = cut(SETTINGS, share, trained.spec.channels)
    taken = one_pass * sum(passes(fewer, trained, has_real=True).values())
    assert taken == pytest.approx(whole / 4, rel=0.01)


def test_a_share_is_never_all_or_nothing_by_mistake(trained):
    assert share_within(1e9, trained, SETTINGS, has_real=True, one_pass=0.01) == 1
    assert share_within(1e-9, trained, SETTINGS, has_real=True, one_pass=0.01) == LEAST_SHARE


def test_passes_are_fewer_without_real_images_and_by_pixels(trained):
    with_real = passes(SETTINGS, trained, has_real=True)
    without = passes(SETTINGS, trained, has_real=False)
    by_pixels = passes(ExplainSettings(by="pixels"), trained, has_real=False)
    assert by_pixels["adversarial"] == 0 < without["adversarial"] < with_real["adversarial"]
    assert seconds_per_pass(trained) > 0
