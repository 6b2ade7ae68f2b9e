"""service_utils: contract-first REST, databases, clients, tokens and mail on top of evpy."""
