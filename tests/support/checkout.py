"""Marks of tests that need the checkout's git."""

import pytest
from host.checkout import ROOT
from release.archive import list_tracked

in_a_checkout = pytest.mark.skipif(not list_tracked(ROOT), reason="git names the files of the archive")
