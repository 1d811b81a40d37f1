"""The rules of the machine: pure, synchronous, without Ray, clocks or files.

``now`` and ``rng`` are arguments. Read ``manager.py`` first; it is the heart.
"""
