"""The patterns by which nodes choose sites."""

import pytest
from animatediff_loom.motion_modules.unet.site_patterns import short_name, sites_like

from tests.support.motion_models import SITES
from tests.support.texts import expect_error


@pytest.mark.parametrize(
    ("pattern", "count"),
    (
        ("*", 21),
        ("mid", 1),
        ("down", 8),
        ("down.1", 2),
        ("down 1.0", 1),
        ("UP.*, up.3", 12),
        ("up_blocks.1.motion_modules.2\nmid_block.motion_modules.0,", 2),
        ("down.1\uff0cmid\u3001up.1.0\uff1bup.1.1;up.1.2", 6),
        ("*.0.0, mid", 3),
        ("mid_block", 1),
        ("up_blocks.1", 3),
        ("up_blocks.0\uff0cmid_block", 4),
    ),
)
def test_patterns(pattern, count):
    sites = sites_like(pattern, SITES, "the UNet")
    assert len(sites) == count
    assert sites == [name for name in SITES if name in sites]


@pytest.mark.parametrize("pattern", ("down.4", "middle", "", " , ", "mid.1", "down.1.motion"))
def test_patterns_that_fit_nothing_are_refused_with_the_names_that_exist(pattern):
    with expect_error("`sites`", "the UNet", "down.0.0, down.0.1", "up.3.2"):
        sites_like(pattern, SITES, "the UNet")


def test_the_error_names_the_input():
    with expect_error("`attention_sites`", "'up.9'", "'v3.safetensors'"):
        sites_like("mid, up.9", SITES, "'v3.safetensors'", "attention_sites")


def test_the_error_does_not_repeat_a_long_pattern():
    with expect_error(f"`sites` has 'up.{'9' * 37}\u2026', which matches no site"):
        sites_like("up." + "9" * 1_000_000, SITES, "the UNet")


def test_the_short_name_of_a_site_is_a_pattern_for_that_site_alone():
    assert short_name("up_blocks.2.motion_modules.1") == "up.2.1"
    assert short_name("mid_block.motion_modules.0") == "mid"
    assert [sites_like(short_name(site), SITES, "the UNet") for site in SITES] == [[site] for site in SITES]
