"""A transform for configs under test that counts the images it is shown."""

from monai.transforms import RandomizableTransform


class CountImaged(RandomizableTransform):
    """Counts, changes nothing; counted as random, so that its result is not cached."""

    seen = 0

    def __call__(self, data: dict) -> dict:
        """Count one."""
        CountImaged.seen += 1
        return data
