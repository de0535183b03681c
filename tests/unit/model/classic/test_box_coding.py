import math

import torch
from torchvision.models.detection._utils import BoxCoder

from model.classic.box_coding import LONGEST_STRETCH, TARGET_STD, decode, encode


def random_boxes(count: int, seed: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    corner = torch.rand(count, 2, generator=generator) * 300
    return torch.cat([corner, corner + 10 + torch.rand(count, 2, generator=generator) * 200], 1)


def test_encoding_and_decoding_equal_torchvisions_with_weights_for_deviations() -> None:
    regions, boxes = random_boxes(50, 1), random_boxes(50, 2)
    coder = BoxCoder((10.0, 10.0, 5.0, 5.0))
    targets = encode(regions, boxes, TARGET_STD)
    torch.testing.assert_close(targets, coder.encode_single(boxes, regions), rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(decode(regions, targets, TARGET_STD), coder.decode_single(targets, regions))


def test_decoding_undoes_encoding() -> None:
    regions, boxes = random_boxes(50, 3), random_boxes(50, 4)
    torch.testing.assert_close(decode(regions, encode(regions, boxes)), boxes, rtol=1e-4, atol=1e-2)


def test_the_targets_are_the_papers_shift_in_region_sides_and_log_of_ratios() -> None:
    region, box = torch.tensor([[0.0, 0, 10, 20]]), torch.tensor([[5.0, 5, 25, 15]])  # centres (5, 10) and (15, 10)
    assert encode(region, box)[0].tolist() == [1.0, 0.0, torch.tensor(math.log(2)), -torch.tensor(math.log(2))]


def test_a_wild_stretch_is_bounded() -> None:
    decoded = decode(torch.tensor([[0.0, 0, 16, 16]]), torch.tensor([[0.0, 0, 1000, 1000]]))
    torch.testing.assert_close(decoded[0, 2] - decoded[0, 0], torch.tensor(16 * math.exp(LONGEST_STRETCH)))
