"""NBD, the network block device protocol: wire format, client, server and TLS.

Line 1 between the arrays, and the road from the destination array to the virtual server, speak NBD. The client is
synchronous and one per thread; the server runs one thread per connection over any
:class:`~nightwell.nbd.backend.Backend`.
"""
