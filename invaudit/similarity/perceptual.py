"""LPIPS as the squared distance of two vectors, one for each image."""

import warnings
from pathlib import Path

import torch
from torch import Tensor, nn

from invaudit.data import seeded_rng
from invaudit.records.columns import Better
from invaudit.runtime.errors import ModelError
from invaudit.runtime.files import content_hash
from invaudit.similarity.checks import checked_images
from invaudit.similarity.protocol import MetricOptions, Screen, described, rounding
from invaudit.similarity.weights import trunk_weights

NETS = {"alex": ("alexnet", 31), "squeeze": ("squeezenet", 17)}
"""Network -> what the package calls its trunk, and the smallest side that it can take."""

BATCH_PIXELS = 2**16
SMALLEST_BATCH, LARGEST_BATCH = 8, 64


class Lpips:
    """Learned perceptual image patch similarity, version 0.1: a distance, 0 for equal images.

    With unit features f_l and linear weights w_l >= 0 of layer l, LPIPS(x, y) = |v(x) - v(y)|^2, where v(x) joins
    sqrt(w_l / (H_l W_l)) f_l(x) over layers, channels and positions. Networks, linear weights and normalisation are
    those of the package ``lpips``; inputs are scaled to [-1, 1], grey images repeated to three channels.

    Args:
        net: ``alex`` or ``squeeze``.
        options: What ``make_metric`` was given.

    Raises:
        MissingWeightsError: The trunk weights are not found.
        ModelError: The weights do not fit, or a linear weight is negative, so that there is no such vector.

    References:
        Zhang, Isola, Efros, Shechtman, Wang 2018, eq. 1; exact.
    """

    better: Better = "lower"

    def __init__(self, net: str, options: MetricOptions) -> None:
        self.name, self.resize, self.device = f"lpips-{net}", options.resize, options.device
        self.label = described(f"LPIPS 0.1, {net}", self.resize)
        weights = trunk_weights(net, options.weights, download=options.download)
        # Here, since it loads torchvision, which takes seconds: bad input is refused before that.
        import lpips

        trunk, self.smallest = NETS[net]
        self.trunk = _trunk(trunk, weights).to(self.device)
        self.scaling = lpips.ScalingLayer().to(self.device)
        self.heads = [head.to(self.device) for head in _heads(net)]
        parts: list[bytes | str] = [self.label, self.device.type]
        for value in (*self.trunk.state_dict().values(), *self.heads):
            parts.append(value.cpu().numpy().tobytes())
        self.key = content_hash(*parts)
        self._batch_sizes: dict[torch.Size, int] = {}

    def embed(self, images: Tensor) -> Tensor:
        """Return the vectors (N, D) float32, of batches of one size: other sizes are computed with other rounding."""
        images = checked_images(images, smallest=self.smallest, resize=self.resize, device=self.device)
        images = images.expand(-1, 3, -1, -1)
        size = self._batch_size(images.shape[1:])
        return torch.cat([self._vectors(part, size) for part in images.split(size)])

    def _batch_size(self, shape: torch.Size) -> int:
        """Return the size of batches in which the place of an image does not change its vector by a bit; 1 always is.

        Which operations a place gets depends on shapes alone, so one image in all places shows whether they differ.
        """
        if shape not in self._batch_sizes:
            probe = torch.rand(shape, generator=seeded_rng(0, "similarity/probe")).to(self.device)
            size = max(SMALLEST_BATCH, min(LARGEST_BATCH, BATCH_PIXELS // (shape[1] * shape[2])))
            vectors = self._vectors(probe.expand(size, -1, -1, -1), size)
            self._batch_sizes[shape] = size if (vectors == vectors[0]).all() else 1
        return self._batch_sizes[shape]

    def _vectors(self, images: Tensor, size: int) -> Tensor:
        from lpips import normalize_tensor

        batch = images.new_zeros(size, *images.shape[1:])
        batch[: len(images)] = images
        vectors = []
        for features, head in zip(self.trunk(self.scaling(2 * batch - 1)), self.heads, strict=True):
            used = head > 0
            scale = (head[used] / features[0, 0].numel()).sqrt().view(-1, 1, 1)
            vectors.append((normalize_tensor(features)[:, used] * scale).flatten(1))
        return torch.cat(vectors, 1)[: len(images)]

    def screen(self, queries: Tensor) -> Screen:
        """Multiply out |x - y|^2 in float32, around the mean of the queries: less is left to cancel."""
        centre = queries.mean(0)
        x = queries - centre
        x_squared = x.square().sum(1, keepdim=True)
        share = rounding(queries.shape[1] + 8)

        def against(gallery: Tensor) -> tuple[Tensor, Tensor]:
            y = gallery - centre
            y_squared = y.square().sum(1)
            rough = torch.addmm(y_squared, x, y.T, alpha=-2).add_(x_squared)
            return rough, share * (x_squared.sqrt() + y_squared.max().sqrt()).square()

        return against

    def exact(self, queries: Tensor, gallery: Tensor) -> Tensor:
        """Return the squared distance of each pair, summed in float64."""
        return (queries.double() - gallery.double()).square_().sum(1)


def _trunk(name: str, weights: dict[str, Tensor]) -> nn.Module:
    from lpips import pretrained_networks

    build = getattr(pretrained_networks, name)
    with torch.device("meta"), warnings.catch_warnings():
        # The package calls torchvision in a way that torchvision warns about.
        warnings.filterwarnings("ignore", message=".*pretrained", category=UserWarning)
        warnings.filterwarnings("ignore", message=".*weight enum", category=UserWarning)
        trunk = build(pretrained=False, requires_grad=False)
    # The package's names say in which slice a layer is: slice1.0.weight is torchvision's features.0.weight.
    state: dict[str, Tensor] = {}
    try:
        for name in trunk.state_dict():
            _slice, _, name_in_slice = name.partition(".")
            state[name] = weights[f"features.{name_in_slice}"]
        trunk.load_state_dict(state, assign=True)
    except (KeyError, RuntimeError) as error:
        raise ModelError(f"the trunk weights do not fit LPIPS ({error}); fetch torchvision's") from error
    return trunk.eval().requires_grad_(False)


def _heads(net: str) -> list[Tensor]:
    import lpips

    path = Path(lpips.__file__).parent / "weights" / "v0.1" / f"{net}.pth"
    heads = []
    for value in torch.load(path, map_location="cpu", weights_only=True).values():
        if (value < 0).any():
            raise ModelError(f"{path} has negative linear weights, so that LPIPS is no distance; reinstall lpips 0.1.4")
        heads.append(value.flatten())
    return heads
