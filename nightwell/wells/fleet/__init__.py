"""Many wells in one night: what needs to be analysed, the analysis of it on Dask, and what a night changed."""
