"""What is there while documents are read and written."""
