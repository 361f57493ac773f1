"""What a deployment would be, read back from its synthesized templates: for tests and documents."""
