"""The qemu array: volumes, copy pairs and exports of a ``qemu-storage-daemon``, told what to do through QMP.

Rooms, from the bottom up: ``daemon`` (the process and its monitor), ``state`` (what outlives it), ``layers`` (a volume
as a chain of files), ``copier`` (the job that keeps S in step), ``held`` (all of it under one lock), ``pairs`` and
``line`` (the port's two halves), ``array`` (both together); ``process`` runs it behind the control socket.
"""
