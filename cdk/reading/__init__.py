"""What a deployment would be, read back from its synthesised templates: for tests and documents."""
