"""Runs and packed bits, in which Parquet writes levels and places in dictionaries.

A run is a number h and a value: h >> 1 times the value if h is even, (h >> 1) groups of 8 packed values if it is odd.
What comes after the last value that is asked for fills up a group, or should not be there.
"""

from __future__ import annotations

import numpy as np

from fastxent.kernels.parquet.thrift import varint

__all__ = [
    "MALFORMED",
    "OTHER_LISTS",
    "count_levels",
    "longest_row",
    "lz4_size",
    "sized_end",
    "take_entries",
    "walk_lists",
]

#: The bytes are no such runs, or not as many as they should be.
MALFORMED = -1
#: The bytes are levels, but not those of lists of one length.
OTHER_LISTS = -2


def _run(data, at, end, width):
    """The head of a run: values that are packed (or 0), those that are alike (or 0), their value, the place after."""
    head, at = varint(data, at, end)
    count = head >> 1
    if at < 0 or count <= 0:
        return np.int64(0), np.int64(0), np.int64(0), np.int64(-1)
    if head & 1:
        if count > 1 << 40 or (width > 0 and count > (end - at) // width):
            return np.int64(0), np.int64(0), np.int64(0), np.int64(-1)
        return 8 * count, np.int64(0), np.int64(0), at
    value, octets = np.int64(0), (width + 7) >> 3
    if octets > end - at:
        return np.int64(0), np.int64(0), np.int64(0), np.int64(-1)
    for i in range(octets):
        value |= np.int64(data[at + i]) << (8 * i)
    return np.int64(0), count, value, at + octets


def _packed(data, at, end, width, i):
    """The value at a place among packed ones, which end before ``end``."""
    bit = i * width
    at += bit >> 3
    value = np.int64(0)
    if end - at >= 5:
        value = np.int64(data[at]) | np.int64(data[at + 1]) << 8 | np.int64(data[at + 2]) << 16
        value |= np.int64(data[at + 3]) << 24 | np.int64(data[at + 4]) << 32
    else:
        for octet in range(end - at):
            value |= np.int64(data[at + octet]) << (8 * octet)
    return (value >> (bit & 7)) & ((np.int64(1) << width) - 1)


def count_levels(data, at, end, width, count, top):
    """How many of ``count`` levels are ``top``, and how many 0; -1 if the bytes are not those of as many levels."""
    tops, zeros = np.int64(0), np.int64(0)
    while count > 0:
        packed, alike, value, at = _run(data, at, end, width)
        if at < 0 or value > top:
            return np.int64(MALFORMED), np.int64(0)
        if alike:
            alike = min(alike, count)
            tops += alike if value == top else 0
            zeros += alike if value == 0 else 0
            count -= alike
            continue
        for i in range(min(packed, count)):
            value = _packed(data, at, end, width, i)
            if value > top:
                return np.int64(MALFORMED), np.int64(0)
            tops += value == top
            zeros += value == 0
        count -= min(packed, count)
        at += (packed >> 3) * width
    return (tops, zeros) if at == end else (np.int64(MALFORMED), np.int64(0))


def walk_lists(data, at, end, count, length, place):
    """The place in a row (of ``length``) after ``count`` repetition levels, of which the first is at ``place``.

    `OTHER_LISTS` if rows have other lengths, `MALFORMED` if the bytes are not those of as many levels.
    """
    while count > 0:
        packed, alike, value, at = _run(data, at, end, 1)
        if at < 0 or value > 1:
            return np.int64(MALFORMED)
        if alike:
            alike = min(alike, count)
            if value == 1:
                if place == 0 or alike > length - place:
                    return np.int64(OTHER_LISTS)
                place += alike
            else:
                if place != 0 or (alike > 1 and length > 1):
                    return np.int64(OTHER_LISTS)
                place = 1
            place = 0 if place >= length else place
            count -= alike
            continue
        after = at + (packed >> 3)
        start = place if place == 0 else length - place  # bits until a row begins
        while at < after and count > 0:
            expected, mask = np.int64(255), (np.int64(1) << min(count, 8)) - 1
            while start < 8:
                expected ^= np.int64(1) << start
                start += length
            start -= 8
            if (np.int64(data[at]) ^ expected) & mask:
                return np.int64(OTHER_LISTS)
            place += min(count, 8)
            count -= 8
            at += 1
        count = max(count, 0)
        place %= length
        at = after
    return np.int64(place) if at == end else np.int64(MALFORMED)


def longest_row(data, at, end, width, count, length):
    """The most values of a row among ``count`` repetition levels, the first ``length`` of it before them; of the last.

    -1 if the bytes are not those of as many levels.
    """
    longest = np.int64(0)
    while count > 0:
        packed, alike, value, at = _run(data, at, end, width)
        if at < 0:
            return np.int64(MALFORMED), np.int64(0)
        if alike:
            alike = min(alike, count)
            if value == 0:
                longest, length = max(longest, length), np.int64(1)
            else:
                length += alike
            count -= alike
            continue
        for i in range(min(packed, count)):
            if _packed(data, at, end, width, i) == 0:
                longest, length = max(longest, length), np.int64(0)
            length += 1
        count -= min(packed, count)
        at += (packed >> 3) * width
    return max(longest, length), length


def take_entries(data, at, end, count, entries, out):
    """Puts ``count`` entries of a dictionary into ``out``, if that has room; returns ``count``, or `MALFORMED`."""
    if at >= end:
        return np.int64(0 if count == 0 else MALFORMED)
    width = np.int64(data[at])
    at = np.int64(at + 1)
    if width > 32:
        return np.int64(MALFORMED)
    done, writes = np.int64(0), len(out) >= count
    while done < count:
        packed, alike, value, at = _run(data, at, end, width)
        if at < 0 or value >= len(entries):
            return np.int64(MALFORMED)
        if alike:
            alike = min(alike, count - done)
            for i in range(done, done + (alike if writes else 0)):
                out[i] = entries[value]
            done += alike
            continue
        used = min(packed, count - done)
        for i in range(used):
            value = _packed(data, at, end, width, i)
            if value >= len(entries):
                return np.int64(MALFORMED)
            if writes:
                out[done + i] = entries[value]
        done += used
        at += (packed >> 3) * width
    return count if at == end else np.int64(MALFORMED)


def lz4_size(data, at, end):
    """How many bytes an LZ4 block unpacks to; `MALFORMED` if it is none. The decompressor does not tell."""
    size = np.int64(0)
    while at < end:
        token = np.int64(data[at])
        at += 1
        for part in range(2):  # literals, then a match
            if part == 1:
                if at == end:
                    return size
                at += 2
            more = token >> 4 if part == 0 else token & 15
            size += more + (4 if part == 1 else 0)
            skipped = more
            while more == 15 or more == 255:
                if at >= end:
                    return np.int64(MALFORMED)
                more = np.int64(data[at])
                at += 1
                size += more
                skipped += more
                if more < 255:
                    break
            if part == 0:
                at += skipped
            if at > end:
                return np.int64(MALFORMED)
    return np.int64(MALFORMED)


def sized_end(data, at, end, count):
    """The place after ``count`` strings of bytes, each after its size of 4 bytes; `MALFORMED` if there are fewer."""
    for _ in range(count):
        if end - at < 4:
            return np.int64(MALFORMED)
        size = np.int64(data[at]) | np.int64(data[at + 1]) << 8 | np.int64(data[at + 2]) << 16
        size |= np.int64(data[at + 3]) << 24
        at += 4
        if size > end - at:
            return np.int64(MALFORMED)
        at += size
    return np.int64(at)
