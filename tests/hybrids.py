"""Runs and packed bits as Parquet has them, written the slow way, with runs of every kind."""

from __future__ import annotations


def varint(value):
    out = b""
    while value > 127:
        out, value = out + bytes([value & 127 | 128]), value >> 7
    return out + bytes([value])


def encode(values, width, rng):
    """Some encoding of ``values``: repeated and packed ones, long and short, as ``rng`` has it."""
    out, at = b"", 0
    while at < len(values):
        if rng.random() < 0.5:
            end = at
            while end < len(values) and values[end] == values[at]:
                end += 1
            end = at + int(rng.integers(1, end - at + 1)) if rng.random() < 0.3 else end
            out += varint((end - at) << 1) + int(values[at]).to_bytes((width + 7) // 8, "little")
            at = end
        else:
            part = [int(v) for v in values[at : at + 8 * int(rng.integers(1, 6))]]
            part += [0] * (-len(part) % 8)
            bits = sum(value << width * i for i, value in enumerate(part))
            out += varint(len(part) // 8 << 1 | 1) + bits.to_bytes(len(part) * width // 8, "little")
            at += len(part)
    return out
