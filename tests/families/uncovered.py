#!/usr/bin/env python3
"""Lists the model types of transformers and the files of timm with attention that no row of families.py and families_more.py mentions. Needs both.

    uncovered.py
"""
import importlib, inspect, os, re
from timm.models import _registry
from transformers.models.auto.configuration_auto import CONFIG_MAPPING_NAMES

HERE = os.path.dirname(os.path.abspath(__file__))
ROWS = "".join(open(os.path.join(HERE, name)).read() for name in ("families.py", "families_more.py"))


def mentioned(name, config=None):
    """by its type, or by its configuration's or a class' name, which begin alike"""
    return re.search(rf'[" ]{re.escape(name)}[" :\n]', ROWS) or config and config.removesuffix("Config") in ROWS


def attends(file):
    code = inspect.getsource(importlib.import_module("timm.models." + file))
    return "softmax" in code or "scaled_dot_product" in code


print("transformers:", *[n for n, config in CONFIG_MAPPING_NAMES.items() if not mentioned(n, config)])
print("timm:", *[f for f, archs in sorted(_registry._module_to_models.items()) if not any(mentioned(n) for n in (f, *archs)) and attends(f)])
