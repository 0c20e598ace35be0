"""Virtual servers: the port (:mod:`nightwell.servers.port`) and its drivers."""
