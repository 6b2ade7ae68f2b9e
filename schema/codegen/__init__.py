"""From components to Python: the plan, and the source text that is made from it."""
