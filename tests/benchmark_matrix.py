"""A matrix small enough for tests: phantom photographs, tiny networks, the polyp bundle's configs."""

from pathlib import Path

from phantoms import write_photos

from conceptseg.benchmark.execution import Places
from conceptseg.benchmark.matrix import Contestant, DataSet, Matrix

TINY_OURS = {
    "network_def#backbone#feature_channels": [8, 8, 16],
    "network_def#backbone#num_layers": 1,
    "network_def#backbone#stem_stride": 1,
    "network_def#decoder#feature_channels": [8, 8, 16],
    "network_def#decoder#stride": 1,
}
TINY_UNET = {
    "baseline": {
        "_target_": "UNet",
        "spatial_dims": 2,
        "in_channels": 3,
        "out_channels": 1,
        "channels": [8, 16],
        "strides": [2],
        "norm": "batch",
    }
}
SMALL_CLIPSEG = {
    "projection_dim": 16,
    "reduce_dim": 16,
    "decoder_intermediate_dim": 32,
    "extract_layers": [0, 1],
    "vision_config": {
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "image_size": 32,
        "patch_size": 8,
    },
    "text_config": {
        "hidden_size": 16,
        "intermediate_size": 32,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "max_position_embeddings": 64,
    },
}
CONDITIONS = ("text_free", "no_condition", "text_guided_location", "text_guided_oracle")


def contestants(**more: Contestant) -> dict[str, Contestant]:
    """A plain network and ours."""
    return {
        "unet": Contestant("unet", "UNet", ("baseline",), TINY_UNET, plain=True),
        "ours": Contestant(
            "ours", "ours", settings=TINY_OURS, ours=True, conditions=CONDITIONS, keep_weights=True
        ),
        **more,
    }


def matrix(images: float = 24, **changes) -> Matrix:
    """Eight training photographs of which two choose the checkpoint, and three to test on."""
    photos = DataSet(
        "photos",
        "polyp_endoscopy_segmentation",
        "photos",
        {"kind": "folders", "selection": 0.25},
        ("batch_size",),
        {"images": images},
        validations=2,
        settings={"image_size": 32, "batch_size": 4, "autocast": False, "device": "cpu"},
    )
    return Matrix(**({"contestants": contestants(), "data_sets": {"photos": photos}} | changes))


def places(folder: Path, repository: Path) -> Places:
    """Phantoms and output below `folder`; the repository's bundles."""
    data = folder / "data"
    if not data.exists():
        write_photos(data / "photos" / "train", 8)
        write_photos(data / "photos" / "validation", 3)
    return Places(data, repository / "bundles", folder / "output")
