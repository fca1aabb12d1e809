"""`MultiCrop`: several views of one image, in groups."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import numpy as np

from configs.options import construct
from data.images.options import MultiCropOptions
from data.sample import Sample, SampleError, Transform

_VIEW = "image"


class MultiCrop:
    """Every group of views stacked into `views_NAME`; fields that a view's transforms add into `FIELD_NAME`."""

    def __init__(self, options: MultiCropOptions) -> None:
        self.options = options
        self._groups = {
            name: (group.count, [cast(Transform, construct(part)) for part in group.transforms])
            for name, group in options.views.items()
        }

    def __call__(self, sample: Sample, generator: np.random.Generator) -> Sample:
        """The sample with the views in place of the image."""
        if self.options.field not in sample:
            raise SampleError(f"multi_crop: no field '{self.options.field}'; the sample has {', '.join(sample)}")
        made = {name: value for name, value in sample.items() if name != self.options.field}
        for name, (count, transforms) in self._groups.items():
            views = [self._view(sample, transforms, generator) for _ in range(count)]
            for field in views[0]:
                prefix = "views" if field == _VIEW else field
                made[f"{prefix}_{name}"] = _stack(name, field, [view[field] for view in views])
        return made

    def _view(self, sample: Sample, transforms: Sequence[Transform], generator: np.random.Generator) -> Sample:
        """One view; its transforms see the image alone, as the field `image`."""
        view: Sample = {_VIEW: sample[self.options.field]}
        for transform in transforms:
            view = transform(view, generator)
        return view


def _stack(group: str, field: str, arrays: Sequence[np.ndarray]) -> np.ndarray:
    shapes = {array.shape for array in arrays}
    if len(shapes) > 1:
        found = " and ".join(str(list(shape)) for shape in sorted(shapes))
        raise SampleError(
            f"multi_crop: the views '{group}' have the shapes {found} ({field}); "
            "give them one size, by random_resized_crop for example"
        )
    return np.stack(arrays)
