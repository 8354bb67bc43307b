"""SSIM between all pairs: the convention, the fast screening in patches, and the exact value in float64."""

from functools import cache

import torch
from torch import Tensor

from invaudit.models import resolve_precision
from invaudit.runtime.files import content_hash
from invaudit.similarity.images import checked_images
from invaudit.similarity.metric import UNIT, Better, MetricOptions, Screen, described

C1, C2 = 0.01**2, 0.03**2
SIGMA = 1.5
SIDE, SMALL_SIDE = 11, 5
QUERY_TILE, GALLERY_TILE = 256, 512


class Ssim:
    """Structural similarity; in [-1, 1], negative values kept.

    A Gaussian window of 11 x 11, sigma 1.5 (5 x 5 where a side is under 11); K1 = 0.01, K2 = 0.03, data range 1;
    biased variances, those that rounding makes negative set to 0, covariances as they are; mean over the window
    positions that lie wholly inside, then over channels.

    *Source:* Wang, Bovik, Sheikh, Simoncelli 2004, eqs. 13 to 17.
    """

    name = "ssim"
    better: Better = "higher"

    def __init__(self, options: MetricOptions) -> None:
        self.resize, self.device = options.resize, options.device
        self.label = described("SSIM", self.resize)
        self.key = content_hash(self.label, self.device.type)

    def embed(self, images: Tensor) -> Tensor:
        """Return the images themselves, float32."""
        return checked_images(images, smallest=SMALL_SIDE, resize=self.resize, device=self.device)

    def screen(self, queries: Tensor) -> Screen:
        """Compare in patches, see ``_Patches``."""
        prepared = _Patches(queries)
        return lambda gallery: prepared.against(_Patches(gallery))

    def exact(self, queries: Tensor, gallery: Tensor) -> Tensor:
        """Return the SSIM of each pair, from sums over windows in float64."""
        x, y = queries.double(), gallery.double()
        # Covariances do not change when a constant is subtracted; what cancels in their formula becomes small.
        middle = x.mean((2, 3), keepdim=True), y.mean((2, 3), keepdim=True)
        a, b = x - middle[0], y - middle[1]
        means = _windowed(torch.stack([a, b, a * a, b * b, a * b]))
        mean_a, mean_b = means[0], means[1]
        var_a = (means[2] - mean_a * mean_a).clamp_min(0)
        var_b = (means[3] - mean_b * mean_b).clamp_min(0)
        covariance = means[4] - mean_a * mean_b
        mean_x, mean_y = mean_a + middle[0], mean_b + middle[1]
        luminance = (2 * mean_x * mean_y + C1) / (mean_x * mean_x + mean_y * mean_y + C1)
        structure = (2 * covariance + C2) / (var_a + var_b + C2)
        return (luminance * structure).flatten(2).mean(2).mean(1)


def window_side(sides: torch.Size) -> int:
    """Return the side of the window for images of these height and width."""
    return SIDE if min(sides) >= SIDE else SMALL_SIDE


@cache
def _window(side: int, device: torch.device) -> Tensor:
    offsets = torch.arange(side, dtype=torch.float64, device=device) - side // 2
    weights = torch.exp(-offsets.square() / (2 * SIGMA**2))
    return weights / weights.sum()


def _windowed(maps: Tensor) -> Tensor:
    """Return weighted means (..., H - side + 1, W - side + 1) float64 of maps (..., H, W) over every window inside."""
    window = _window(window_side(maps.shape[-2:]), maps.device)
    down, across = (_band(window, n) for n in maps.shape[-2:])
    return down @ maps @ across.T


def _band(window: Tensor, n: int) -> Tensor:
    band = window.new_zeros(n - len(window) + 1, n)
    for row in range(len(band)):
        band[row, row : row + len(window)] = window
    return band


class _Patches:
    """Images as the screening takes them: for each window position one column of centred pixels for each image.

    The covariance of a pair at a position is then one entry of a matrix product, with nothing left to cancel: rounding
    puts it off by a small share of s_x s_y, hence SSIM by at most the same share, whatever the images. The products
    run in bfloat16 where the device is fast at it.
    """

    def __init__(self, images: Tensor) -> None:
        self.n = len(images)
        self.window = _window(window_side(images.shape[-2:]), images.device)
        side = len(self.window)
        double = images.double()
        centred = double - double.mean((2, 3), keepdim=True)
        moments = _windowed(torch.stack([double, centred, centred.square()]))
        variances = (moments[2] - moments[1].square()).clamp_min(0)
        self.means, self.variances = (
            value.permute(1, 2, 3, 0).flatten(0, 2).float().contiguous() for value in (moments[0], variances)
        )
        self.pixels = images.permute(1, 2, 3, 0).contiguous()
        rows, columns = self.pixels.shape[1] - side + 1, self.pixels.shape[2] - side + 1
        self.positions = [(c, i, j) for c in range(images.shape[1]) for i in range(rows) for j in range(columns)]

    def column(self, index: int, weights: Tensor, constant: Tensor, dtype: torch.dtype) -> Tensor:
        """Return the centred pixels at a position times the weights, over two rows of constants, (side^2 + 2, N)."""
        c, i, j = self.positions[index]
        side = len(self.window)
        column = torch.empty(side * side + 2, self.n, dtype=dtype, device=self.pixels.device)
        centred = self.pixels[c, i : i + side, j : j + side] - self.means[index]
        column[:-2] = centred.flatten(0, 1).mul_(weights)
        column[-2:] = constant
        return column

    def against(self, other: "_Patches") -> tuple[Tensor, Tensor]:
        """Return rough SSIM of all pairs (Q, B) float32 and how far they may be off, (Q, 1).

        Each SSIM is the mean of 4 (mu_x mu_y + C1/2) (s_xy + C2/2) / ((mu_x^2 + mu_y^2 + C1) (s_x^2 + s_y^2 + C2)):
        the first factor, the second and the denominator are products of 2, side^2 + 2 and 4 columns.
        """
        device = self.pixels.device
        dtype = resolve_precision("auto", device)
        weights = torch.outer(self.window, self.window).float().view(-1, 1)
        # C2 / 2 as a sum of two numbers: in bfloat16 one would be off by 2^-9 of it.
        high = torch.tensor(C2 / 2, device=device).to(dtype).float()
        constant = torch.stack([high, C2 / 2 - high]).view(2, 1)
        ones = torch.ones((), device=device)
        total = torch.zeros(self.n, other.n, device=device)
        for index in range(len(self.positions)):
            x = self.column(index, weights, constant, dtype).T.contiguous()
            y = other.column(index, ones, ones, dtype)
            mean_x, mean_y = self.means[index], other.means[index]
            light_x, light_y = mean_x.square() + C1, mean_y.square()
            var_x, var_y = self.variances[index] + C2, other.variances[index]
            one_x, one_y = torch.ones_like(mean_x), torch.ones_like(mean_y)
            upper_x = torch.stack([4 * mean_x, 2 * C1 * one_x], 1)
            upper_y = torch.stack([mean_y, one_y])
            lower_x = torch.stack([light_x * var_x, light_x, var_x, one_x], 1)
            lower_y = torch.stack([one_y, var_y, light_y, light_y * var_y])
            for q in _tiles(self.n, QUERY_TILE, device):
                for g in _tiles(other.n, GALLERY_TILE, device):
                    upper = (upper_x[q] @ upper_y[:, g]).mul_(x[q] @ y[:, g])
                    total[q, g].addcdiv_(upper, lower_x[q] @ lower_y[:, g])
        n = len(self.positions)
        share = 2 * torch.finfo(dtype).eps + (len(weights) + 20 + n) * UNIT
        return total.div_(n), torch.full((self.n, 1), share, device=device)


def _tiles(n: int, size: int, device: torch.device) -> list[slice]:
    size = size if device.type == "cpu" else n
    return [slice(start, start + size) for start in range(0, n, size)]
