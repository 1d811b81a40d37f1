"""Progress displays: each draws a ``ProgressSnapshot`` and knows nothing else of the work."""
