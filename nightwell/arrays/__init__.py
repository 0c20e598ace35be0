"""Storage arrays: the port (:mod:`nightwell.arrays.port`) and its drivers."""
