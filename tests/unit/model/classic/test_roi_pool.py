import torch
from torchvision.ops import roi_pool as torchvision_roi_pool

from model.classic.roi_pool import RoiPool, bins, roi_max_pool


def random_rois(count: int, images: int, width: int, height: int, generator: torch.Generator) -> torch.Tensor:
    corners = torch.rand(count, 2, 2, generator=generator) * torch.tensor([width, height])
    image = torch.randint(0, images, (count, 1), generator=generator).float()
    return torch.cat([image, corners.amin(1), corners.amax(1)], 1)


def test_the_definition_equals_torchvisions_kernel_on_random_regions_with_parts_beyond_the_map() -> None:
    generator = torch.Generator().manual_seed(0)
    feature = torch.randn(2, 3, 9, 13, generator=generator)
    rois = random_rois(60, 2, 13 * 16 + 40, 9 * 16 + 40, generator)
    for output_hw in ((7, 7), (2, 2), (1, 1)):
        ours = roi_max_pool(feature, rois, output_hw)
        assert torch.equal(ours, torchvision_roi_pool(feature, rois, output_hw, 1 / 16))
    assert torch.equal(RoiPool().over([feature], rois), roi_max_pool(feature, rois))


def test_a_7x5_region_of_an_8x8_map_goes_into_2x2_uneven_bins() -> None:
    """Columns 0-6 in halves of 3.5, rows 3-7 in halves of 2.5: the middle column and row belong to both."""
    feature = torch.arange(64.0).view(1, 1, 8, 8)
    assert bins(0, 7, 2, 8) == [(0, 4), (3, 7)]
    assert bins(3, 5, 2, 8) == [(3, 6), (5, 8)]
    pooled = roi_max_pool(feature, torch.tensor([[0.0, 0, 3, 6, 7]]), (2, 2), scale=1.0)
    assert pooled[0, 0].tolist() == [[5 * 8 + 3, 5 * 8 + 6], [7 * 8 + 3, 7 * 8 + 6]]


def test_an_8x8_map_as_one_region_goes_into_2x2_even_bins() -> None:
    feature = torch.arange(64.0).view(1, 1, 8, 8)
    pooled = roi_max_pool(feature, torch.tensor([[0.0, 0, 0, 7, 7]]), (2, 2), scale=1.0)
    assert pooled[0, 0].tolist() == [[3 * 8 + 3, 3 * 8 + 7], [7 * 8 + 3, 7 * 8 + 7]]


def test_a_region_smaller_than_a_cell_repeats_that_cell_and_one_off_the_map_is_zero() -> None:
    feature = torch.arange(1.0, 65.0).view(1, 1, 8, 8)
    rois = torch.tensor([[0.0, 16, 16, 17, 17], [0, 400, 400, 500, 500]])
    pooled = roi_max_pool(feature, rois)
    assert (pooled[0] == feature[0, 0, 1, 1]).all()
    assert (pooled[1] == 0).all()


def test_the_module_pools_each_images_boxes_from_its_own_features_and_lets_gradients_through() -> None:
    feature = torch.randn(2, 4, 6, 6, requires_grad=True)
    boxes = [torch.tensor([[0.0, 0, 64, 64]]), torch.tensor([[16.0, 16, 90, 90], [0, 0, 95, 95]])]
    pooled = RoiPool()({"0": feature}, boxes)
    assert pooled.shape == (3, 4, 7, 7)
    assert torch.equal(pooled[1], roi_max_pool(feature[1:].detach(), torch.tensor([[0.0, 16, 16, 90, 90]]))[0])
    pooled[0].sum().backward()
    assert feature.grad is not None and feature.grad[0].abs().sum() > 0 and feature.grad[1].abs().sum() == 0
