#!/usr/bin/env python3
"""As make_families.py, for the models of other packages (packages.py): what this Python environment has of them.

    make_packages.py OUT [FAMILY...]        ONLY, EXPORTS and SEED as in make_families.py

A developer's tool. OUT may be the same for several environments: a family that cannot be built here is left as it is there.
"""
import os, sys
os.environ.setdefault("ONLY", "ts14 ts17 dyn18 ts17-slim ts17-ortext dyn18-slim")
os.environ.setdefault("EXPORTS", "ts14 ts17 dyn18")
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import make_families  # noqa: E402
import packages  # noqa: E402
import packages_more, packages_pictures, packages_signals, packages_vit, packages_x  # noqa: E402,F401  (they add their rows to packages.FAMILIES)

if __name__ == "__main__":
    make_families.make(packages.FAMILIES, sys.argv[1], sys.argv[2:])
