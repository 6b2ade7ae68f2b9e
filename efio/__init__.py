"""efio: threads, queues, shared memory and files. It never imports evpy."""
