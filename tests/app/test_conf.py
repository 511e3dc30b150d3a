"""Options of the command line that nobody reads are named."""

import pytest
from lib.conf import warn_of_unknown


def test_a_misspelt_key_is_warned_about_with_the_one_that_was_meant(caplog):
    warn_of_unknown(["lease_minute", "bundles"])
    (entry,) = caplog.records
    assert "'lease_minute'" in entry.message and "did you mean 'lease_minutes'?" in entry.message
    assert "auto_scoring" in entry.message


@pytest.mark.parametrize("key", ["preload", "score_images", "server_mode", "zoo_source"])
def test_keys_of_the_app_and_of_monai_label_are_known(caplog, key):
    warn_of_unknown([key])
    assert not caplog.records
