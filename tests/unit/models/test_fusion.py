import torch
from torch import Tensor

from kinesweep.models.fusion import splice


def parts(num_rows: int, *widths: int) -> list[tuple[Tensor, Tensor]]:
    """Random vectors with random masks, padded on the right; some are empty."""
    made = []
    for width in widths:
        lengths = torch.randint(0, width + 1, (num_rows, 1))
        made.append((torch.randn(num_rows, width, 2), torch.arange(width) < lengths))
    end = (torch.full((num_rows, 1, 2), 9.0), torch.ones(num_rows, 1, dtype=torch.bool))
    return [*made, end]


def one_by_one(given: list[tuple[Tensor, Tensor]], row: int) -> Tensor:
    return torch.cat([x[row][mask[row]] for x, mask in given])


def test_each_row_is_its_real_vectors_in_order() -> None:
    torch.manual_seed(0)
    for widths in [(3, 5), (0, 4), (2, 6, 3), (1,)]:
        given = parts(6, *widths)
        x_BME, mask_BM = splice(given)
        rows = [one_by_one(given, row) for row in range(6)]
        assert mask_BM.sum(dim=1).tolist() == [len(row) for row in rows]
        assert x_BME.shape[1] == max(len(row) for row in rows)
        for row, expected in enumerate(rows):
            assert torch.equal(x_BME[row, : len(expected)], expected)
            assert mask_BM[row, : len(expected)].all()
            assert not x_BME[row, len(expected) :].any()


def test_gradients_reach_real_vectors_alone() -> None:
    torch.manual_seed(0)
    given = parts(4, 3, 5)
    x = given[1][0].requires_grad_()
    splice(given)[0].sum().backward()
    assert x.grad is not None
    assert torch.equal(x.grad, given[1][1][:, :, None].expand_as(x).float())


def test_not_a_number_in_the_padding_stays_there() -> None:
    x = torch.tensor([[[1.0], [float("nan")]], [[2.0], [3.0]]])
    mask = torch.tensor([[True, False], [True, True]])
    assert splice([(x, mask)])[0].flatten().tolist() == [1.0, 0.0, 2.0, 3.0]
