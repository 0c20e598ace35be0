"""One interactive page per well: a single HTML file that works offline, with nothing fetched from any host."""
