"""What inference and evaluation hand to the handlers, for tests of these."""

import csv
import json
from pathlib import Path

import numpy as np
import torch
from ignite.engine import Engine
from monai.data import MetaTensor


class OnAnotherDevice(MetaTensor):
    """A tensor that NumPy cannot read before `cpu` was called, as on a GPU."""

    def numpy(self, **options):
        raise TypeError("can't convert cuda:0 device type tensor to numpy")

    def __array__(self, *args, **options):
        raise TypeError("can't convert cuda:0 device type tensor to numpy")

    def cpu(self):
        return MetaTensor(self.as_tensor(), meta=self.meta)


def tensor(array, path, elsewhere=False) -> MetaTensor:
    """The array as the image at `path`."""
    kind = OnAnotherDevice if elsewhere else MetaTensor
    return kind(torch.as_tensor(array), meta={"filename_or_obj": str(path), "spacing_known": False})


def square(shape=(16, 16)) -> np.ndarray:
    """A label map (1, *shape) with a square of ones."""
    mask = np.zeros((1, *shape), np.float32)
    mask[:, 4:10, 4:10] = 1
    return mask


def run(handler, *outputs) -> None:
    """Run an engine with the handler over iterations of one output each."""
    engine = Engine(lambda _, output: [output])
    handler.attach(engine)
    engine.run(outputs, max_epochs=1)


def predicted(path, mask_path, elsewhere=False) -> dict:
    """Output of inference for one picture."""
    image, pred = np.full((3, 16, 16), 0.5, np.float32), square()
    pred = tensor(pred, path, elsewhere)
    pred.meta["saved_to"] = str(mask_path)
    report = {"asked": ["polyp"], "presence": [0.9], "readout": [{}], "prompts": [""]}
    report |= {"seconds": 0.1, "warnings": []}
    return {
        "image": tensor(image, path, elsewhere),
        "pred": pred,
        "report": json.dumps(report),
    }


def judged(path, elsewhere=False, shape=(16, 16), conditions=("text_free",)) -> dict:
    """Output of evaluation for one image."""
    output = {
        "image": tensor(np.full((1, *shape), 0.5, np.float32), path, elsewhere),
        "label": tensor(square(shape), path, elsewhere),
    }
    return output | {name: tensor(square(shape), path, elsewhere) for name in conditions}


def rows_of(path: Path) -> list[dict]:
    """Rows of a CSV file."""
    with path.open() as file:
        return list(csv.DictReader(file))
