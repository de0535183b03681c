import pytest
import torch
from torch import nn

from model.classic.truncated_svd import factored


def test_at_full_rank_the_two_layers_equal_the_one() -> None:
    layer, x = nn.Linear(12, 7), torch.randn(5, 12)
    torch.testing.assert_close(factored(layer, 7)(x), layer(x), rtol=1e-4, atol=1e-5)


def test_the_error_of_a_lower_rank_is_its_first_singular_value_left_out() -> None:
    """Eckart and Young: no matrix of that rank comes closer."""
    layer = nn.Linear(12, 7)
    first, second = factored(layer, 3)
    left_out = layer.weight - second.weight @ first.weight
    singular = torch.linalg.svdvals(layer.weight)
    torch.testing.assert_close(torch.linalg.matrix_norm(left_out, 2), singular[3])


def test_the_weights_shrink_from_uv_to_t_u_plus_v_and_the_first_layer_has_no_bias() -> None:
    first, second = factored(nn.Linear(100, 80), 10)
    assert first.weight.numel() + second.weight.numel() == 10 * (100 + 80)
    assert first.bias is None and second.bias is not None


def test_a_rank_a_layer_cannot_have_is_refused() -> None:
    with pytest.raises(ValueError, match="ranks 1 to 7"):
        factored(nn.Linear(12, 7), 8)
