"""Sizes that all hand-written models share: small ones for the files that go into tests/data."""
import os

TINY = bool(os.environ.get("TINY"))  # for the files that go into tests/data
D, H, N, VOCAB, WIDE, PATCH = (8, 2, 6, 12, 12, 4) if TINY else (32, 4, 16, 60, 48, 8)
