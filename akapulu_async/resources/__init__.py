"""Requests to the service, one module per resource."""
