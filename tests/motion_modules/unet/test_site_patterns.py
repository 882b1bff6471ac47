"""The patterns by which nodes choose sites."""

import pytest
from animatediff_loom.motion_modules.unet.site_patterns import sites_like

from tests.support.custom_models import SITES
from tests.support.refusals import refused


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
    ),
)
def test_patterns(pattern, count):
    found = sites_like(pattern, SITES, "the UNet")
    assert len(found) == count
    assert found == [name for name in SITES if name in found]


@pytest.mark.parametrize("pattern", ("down.4", "middle", "", " , ", "mid.1", "down.1.motion"))
def test_patterns_that_fit_nothing_are_refused_with_the_names_that_exist(pattern):
    with refused("`sites`", "the UNet", "down.0.0, down.0.1", "up.3.2"):
        sites_like(pattern, SITES, "the UNet")
