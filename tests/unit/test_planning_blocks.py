"""Shapes of blocks and chunks, and the number of batches."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bigseg.config.models import Blocks
from bigseg.errors import UserError
from bigseg.geometry.grid import Grid, shard_shape
from bigseg.planning.blocks import choose_shapes, number_of_batches

LENGTHS = st.integers(1, 5000) | st.sampled_from([1, 63, 64, 65, 255, 256, 257, 320, 511, 512, 513])
VOLUMES = st.tuples(LENGTHS, LENGTHS, LENGTHS)


def assert_storable(volume, block, chunk):
    """A block is a whole shard, a shard is whole chunks, and a chunk is neither huge nor tiny."""
    shard = shard_shape(volume, block, chunk)
    for n, b, c, s in zip(volume, block, chunk, shard, strict=True):
        assert 1 <= b <= n
        assert s % c == 0
        assert s == b or (b == n and s - c < n)
        assert min(16, b) <= c <= 64


@given(VOLUMES)
def test_automatic_blocks_fit_any_volume(volume):
    block, chunk = choose_shapes("s", volume, Blocks())
    assert_storable(volume, block, chunk)
    for n, b in zip(volume, block, strict=True):
        assert b <= 256
        assert b == n if n <= 256 else b >= 128


@given(VOLUMES, st.data())
def test_a_given_block_is_used_or_a_legal_one_is_named(volume, data):
    wanted = [data.draw(st.integers(1, min(n, 400)) | st.just(n)) for n in volume]
    try:
        block, chunk = choose_shapes("s", volume, Blocks(block_shape=wanted))
    except UserError as error:
        legal = json.loads(re.search(r"\[.*?\]", error.remedy)[0])
        block, chunk = choose_shapes("s", volume, Blocks(block_shape=legal))
        assert list(block) == legal != wanted
    else:
        assert list(block) == wanted
    assert_storable(volume, block, chunk)


@given(VOLUMES)
def test_a_block_larger_than_the_volume_is_refused_and_one_that_fits_named(volume):
    with pytest.raises(UserError, match=r"blocks\.block_shape.*'mine'") as caught:
        choose_shapes("mine", volume, Blocks(block_shape=[volume[0], volume[1] + 1, volume[2]]))
    assert str(list(volume)) in caught.value.remedy


def test_a_given_chunk_shape_is_used():
    blocks = Blocks(block_shape=[64, 96, 96], chunk_shape=[32, 48, 24])
    assert choose_shapes("s", (100, 300, 300), blocks) == ((64, 96, 96), (32, 48, 24))


@given(VOLUMES)
def test_a_volume_makes_at_most_a_few_hundred_jobs_of_not_too_little_work(volume):
    batches = number_of_batches(volume)
    assert 1 <= batches <= 200
    assert batches == 1 or np.prod(volume) / batches > 30_000_000
    assert batches == 200 or np.prod(volume) / batches <= 64_000_000


def test_a_terabyte_is_a_few_hundred_jobs_on_thousands_of_blocks():
    volume = (10_000, 10_000, 10_000)
    block, _ = choose_shapes("s", volume, Blocks())
    assert Grid(volume, block).number_of_blocks == 40**3
    assert number_of_batches(volume) == 200
