import pytest
import torch

from kinesweep.models.resampling import resample_vectors


def masks(*lengths: int) -> torch.Tensor:
    return torch.arange(max(lengths)) < torch.tensor(lengths)[:, None]


def read(values: list[float], wanted: int, how: str) -> list[float]:
    x_BME = torch.tensor(values, dtype=torch.float32)[None, :, None]
    given = torch.ones(1, len(values), dtype=torch.bool)
    asked = torch.ones(1, wanted, dtype=torch.bool)
    return resample_vectors(x_BME, given, asked, how)[0, :, 0].tolist()  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("how", "values", "wanted", "found"),
    [
        ("linear", [0, 4], 4, [0, 1, 3, 4]),
        ("linear", [0, 2, 4, 6], 2, [1, 5]),
        ("linear", [1, 2, 9], 1, [2]),
        ("linear", [7], 3, [7, 7, 7]),
        ("nearest", [0, 4], 4, [0, 0, 4, 4]),
        ("nearest", [0, 1, 2, 3, 4, 5], 2, [1, 4]),
        ("nearest", [7], 3, [7, 7, 7]),
    ],
)
def test_vectors_lie_in_the_middle_of_their_share(
    how: str, values: list[float], wanted: int, found: list[float]
) -> None:
    assert read(values, wanted, how) == found


@pytest.mark.parametrize("how", ["linear", "nearest"])
def test_equal_lengths_change_nothing(how: str) -> None:
    x_BME = torch.randn(2, 9, 3)
    mask_BM = masks(9, 5)
    found = resample_vectors(x_BME, mask_BM, mask_BM, how)  # type: ignore[arg-type]
    assert torch.equal(found[mask_BM], x_BME[mask_BM])


@pytest.mark.parametrize("how", ["linear", "nearest"])
def test_each_clip_has_its_own_lengths_and_padding_never_enters(how: str) -> None:
    torch.manual_seed(0)
    given, wanted = [7, 3, 1, 5], [2, 6, 4, 5]
    x_BME = torch.randn(4, 7, 3).masked_fill(~masks(*given)[:, :, None], torch.nan)
    found = resample_vectors(x_BME, masks(*given), masks(*wanted), how)  # type: ignore[arg-type]
    for row, (m, n) in enumerate(zip(given, wanted, strict=True)):
        one = resample_vectors(x_BME[row : row + 1, :m], masks(m), masks(n), how)  # type: ignore[arg-type]
        assert one.isfinite().all()
        assert torch.equal(found[row, :n], one[0])
