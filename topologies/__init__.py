"""The underlay: lab files and presets, their wanted state, and Mininet's view of it."""

import contextlib
import sys

if sys.version_info < (3, 12):
    # Mininet takes one class of distutils. setuptools puts its own distutils before the standard library's, and
    # that takes 0.2 s to import, and two in a guest kernel.
    with contextlib.suppress(ImportError, AttributeError):
        import _distutils_hack

        _distutils_hack.remove_shim()
