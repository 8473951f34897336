#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Runs one play: `play.py images.links`. The stage is set by hostile.bash."""
import importlib
import sys

sys.dont_write_bytecode = True

if __name__ == '__main__':
    module, function = sys.argv[1].split('.')
    getattr(importlib.import_module(module), function)()
