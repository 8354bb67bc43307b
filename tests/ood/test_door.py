import numpy as np
import pytest
import torch

from invaudit.ood.door import check_images
from invaudit.runtime.errors import DataError, ShapeError

SHAPE = (1, 8, 8)
RIGHT = torch.linspace(0, 1, 3 * 64).view(3, *SHAPE)


def test_the_range_of_floats_is_taken():
    check_images(RIGHT, SHAPE)
    check_images(RIGHT[:1] * 0, SHAPE)


@pytest.mark.parametrize(
    ("images", "remedy"),
    [
        ((RIGHT * 255).byte(), r"torch.uint8.*images.float\(\) / 255"),
        (RIGHT * 255, r"\[0, 255\].*write images / 255"),
        ((RIGHT - 0.13) / 0.3, r"look normalised.*images \* std \+ mean"),
        (RIGHT.double(), r"torch.float64.*write images.float\(\)"),
        (RIGHT.half(), r"torch.float16.*write images.float\(\)"),
        (RIGHT > 0.5, r"torch.bool.*write images.float\(\)"),
        (RIGHT.numpy(), r"numpy.ndarray.*torch.as_tensor"),
        ([[0.5]], "builtins.list"),
        (None, "NoneType"),
        (RIGHT.clone().fill_(np.nan), "NaN"),
        (RIGHT / 0, "infinity|images / 255|NaN"),
    ],
    ids=str,
)
def test_another_type_or_range_is_refused_with_the_line_that_converts_it(images, remedy):
    with pytest.raises(DataError, match=remedy):
        check_images(images, SHAPE)


@pytest.mark.parametrize("shape", [(1, 8, 8), (0, 1, 8, 8), (3, 3, 8, 8), (3, 1, 8, 9), (3, 1, 8, 8, 1)])
def test_another_shape_is_refused(shape):
    with pytest.raises(ShapeError, match=r"expected \(N, 1, 8, 8\)"):
        check_images(torch.zeros(shape), SHAPE)
