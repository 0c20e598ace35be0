"""Who a virtual server is to the store: the port (:mod:`nightwell.store.grants.port`) and its drivers."""
