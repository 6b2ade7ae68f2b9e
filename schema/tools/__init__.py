"""What helps people to understand a schema."""
