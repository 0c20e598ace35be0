"""The embedded array: volumes in files, copy pairs, group split and an NBD server, in pure Python and without root.

Rooms, from the bottom up: ``holes`` and ``volume_file`` (bytes on disk), ``change_map`` and ``gate`` (what changed,
and who may write now), ``pair`` and ``copier`` (the copy pair), ``volume`` (the road of every write), ``state``,
``catalogue`` and ``recovery`` (what outlives the process), ``core`` and ``line`` (the port's two halves), ``array``
(both together, with the server); round it the process: ``control``, ``control_server``, ``client``, ``process``.
"""

from nightwell.arrays.client import ArrayClient

__all__ = ["ArrayClient"]
