"""The long test of a server's memory; scripts/soak starts it, tests/survive/test_soak.py its short form."""
