"""The samples of a run, written from what gda/data/data_loader.h, mixture.h, token_stream.h, permutation.h and
gda/core/philox.h say of them: which window of which source sample i is, and what is held out.

A source is a list of datasets, a dataset a list of documents, a document a list of tokens.
"""

import dataclasses
import functools
import math
from fractions import Fraction

import numpy
import xxhash

WORD = 2**64 - 1
IGNORED = -1
DATA_ORDER = 2  # the purpose of these random numbers


def philox(seed, name, index):
    """64 random bits: two words of Philox4x32-10."""
    hashed = xxhash.xxh3_64_intdigest(name.encode())
    counter = [index & 0xFFFFFFFF, index >> 32, hashed & 0xFFFFFFFF, (hashed >> 32) ^ DATA_ORDER]
    key = [seed & 0xFFFFFFFF, seed >> 32]
    for _ in range(10):
        a, b = 0xD2511F53 * counter[0], 0xCD9E8D57 * counter[2]
        counter = [(b >> 32) ^ counter[1] ^ key[0], b & 0xFFFFFFFF, (a >> 32) ^ counter[3] ^ key[1], a & 0xFFFFFFFF]
        key = [(key[0] + 0x9E3779B9) & 0xFFFFFFFF, (key[1] + 0xBB67AE85) & 0xFFFFFFFF]
    return counter[0] << 32 | counter[1]


def split_mix(x):
    x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9 & WORD
    x = (x ^ (x >> 27)) * 0x94D049BB133111EB & WORD
    return x ^ (x >> 31)


def permuted(key, size, index):
    """Eight Feistel rounds on the smallest 4^h >= size, walked until the result is below size."""
    half = 1
    while 4**half < size:
        half += 1
    mask = 2**half - 1
    while True:
        left, right = index >> half, index & mask
        for turn in range(1, 9):
            whitened = split_mix(split_mix((key + turn * 0x9E3779B97F4A7C15) & WORD) ^ right)
            left, right = right, left ^ (whitened & mask)
        index = left << half | right
        if index < size:
            return index


def held_out(size, starts, fraction):
    """The ranges of tokens for validation: the end of each of up to 16 strata, in whole documents."""

    def document_from(position):
        return min((start for start in starts if start >= position), default=size)

    strata = 16 if fraction > 0 else 0
    while strata >= 1:
        ranges = []
        for k in range(strata):
            end = size / strata * (k + 1)
            begin = document_from(math.floor(end - fraction * (size / strata) + 0.5))
            ranges.append((begin, size if k + 1 == strata else document_from(math.floor(end + 0.5))))
        if all(0 < begin < end for begin, end in ranges):
            return ranges
        strata //= 2
    assert fraction == 0, "sources of so few documents are not for this judge"
    return []


@dataclasses.dataclass
class Row:
    tokens: numpy.ndarray
    targets: numpy.ndarray  # IGNORED: none
    positions: numpy.ndarray
    visible: numpy.ndarray
    source: int = 0


class Stream:
    """Tokens side by side, and where documents begin."""

    def __init__(self, pieces):
        self.tokens = [token for piece, _ in pieces for token in piece]
        self.starts = set()
        before = 0
        for piece, starts in pieces:
            self.starts.update(before + start for start in starts)
            before += len(piece)

    def row(self, begin, length, document_mask):
        """The window of `length` tokens at `begin`, with the token after it for a target."""
        tokens, targets, positions, first = [], [], [], 0
        for t in range(length):
            at = begin + t
            if document_mask and at in self.starts:
                first = t
            ends = at + 1 >= len(self.tokens) or (document_mask and at + 1 in self.starts)
            tokens.append(self.tokens[at] if at < len(self.tokens) else 0)
            targets.append(IGNORED if ends else self.tokens[at + 1])
            positions.append(t - first)
        positions = numpy.array(positions)
        i, j = numpy.arange(length)[:, None], numpy.arange(length)[None, :]
        visible = (j <= i) & (j >= (numpy.arange(length) - positions)[:, None])
        return Row(numpy.array(tokens), numpy.array(targets), positions, visible)


class Source:
    def __init__(self, name, datasets, length, fraction, seed):
        self.name, self.length, self.seed = name, length, seed
        documents = [document for dataset in datasets for document in dataset]
        tokens = [token for document in documents for token in document]
        ends = numpy.cumsum([len(document) for document in documents])
        starts = [0] + [int(end) for end in ends[:-1]]

        def piece(begin, end):
            return tokens[begin:end], [start - begin for start in starts if begin <= start < end]

        kept, validation, at = [], [], 0
        for begin, end in held_out(len(tokens), starts, fraction):
            kept.append(piece(at, begin))
            validation.append(piece(begin, end))
            at = end
        kept.append(piece(at, len(tokens)))
        self.train, self.validation = Stream(kept), Stream(validation)
        self.windows = (len(self.train.tokens) - 1) // length

    def window_begin(self, index):
        epoch, index = divmod(index, self.windows)
        left_over = len(self.train.tokens) - 1 - self.windows * self.length
        order, offset = (philox(self.seed, self.name, 2 * epoch + i) for i in (0, 1))
        return offset % (left_over + 1) + permuted(order, self.windows, index) * self.length


class Mixture:
    """Which source each sample is of. weights: one list of (step, value) points a source; every step has shares of
    its own, which are multiples of 2^-30."""

    def __init__(self, weights, steps, first_sample):
        self.first = [first_sample(step) for step in range(steps + 1)]
        self.shares = [self.shares_at(weights, step) for step in range(steps)]

    @staticmethod
    def shares_at(weights, step):
        values = [float(numpy.interp(step, *zip(*points))) for points in weights]
        whole = [math.floor(value / sum(values) * 2**30 + 0.5) for value in values]
        whole[whole.index(max(whole))] += 2**30 - sum(whole)
        return whole


    def left_count(self, left, both, m):
        """floor of the quota of `left` when that of `both` reaches m."""
        reached = left_quota = Fraction(0)
        for step, shares in enumerate(self.shares):
            whole = Fraction(sum(shares[k] for k in both), 2**30)
            samples = self.first[step + 1] - self.first[step]
            part = Fraction(sum(shares[k] for k in left), 2**30)
            if whole > 0 and reached + whole * samples > m:
                return math.floor(left_quota + (m - reached) * part / whole)
            reached += whole * samples
            left_quota += part * samples
        raise AssertionError("a sample after the last step")

    def at(self, sample):
        """(source, how many samples it gave before)."""
        sources = list(range(len(self.shares[0])))
        while len(sources) > 1:
            left, right = sources[: len(sources) // 2], sources[len(sources) // 2 :]
            count = functools.partial(self.left_count, left, sources)
            taken = count(sample)
            is_left = count(sample + 1) > taken
            sources, sample = (left, taken) if is_left else (right, sample - taken)
        return sources[0], sample
