"""What the service offers, a module a resource: its calls. Their values are in `models`."""
