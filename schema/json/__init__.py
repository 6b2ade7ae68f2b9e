"""JSON for objects: the mappings, and what they have in common."""
