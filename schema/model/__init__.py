"""From XSD files to components: gathering, checking, reading."""
