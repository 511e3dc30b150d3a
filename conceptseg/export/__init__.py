"""Sharing bundles: self-contained copies, the model zoo's checks, a look into received ones."""
