"""Counted checks of the tests that use the program through its command line.

    from checks import check, close
    check(condition, what, ...)     prints what failed and goes on
    close()                         prints the count and ends the process: status 1 where a check failed
"""
import sys

_done = _failed = 0


def check(condition, *what):
    global _done, _failed
    _done += 1
    if not condition:
        _failed += 1
        print("failed:", *what)


def close():
    print(f"{_done} checks, {_failed} failed")
    sys.exit(_failed != 0)
