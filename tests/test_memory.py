"""Freed memory is kept where glibc is, and nothing happens where it is not."""

import platform

from diffspeak import memory


def test_granted_exactly_where_glibc_is():
    assert memory.keep_freed_memory() == (platform.libc_ver()[0] == "glibc")


def test_other_libraries_are_left_alone(monkeypatch):
    def refused(_):
        raise AssertionError("another C library was called")

    monkeypatch.setattr(memory.platform, "libc_ver", lambda: ("musl", "1.2"))
    monkeypatch.setattr(memory.ctypes, "CDLL", refused)
    assert memory.keep_freed_memory() is False
