"""What people look at and exchange: the depth log, LAS files, and summaries in words."""
