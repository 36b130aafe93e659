"""Frozen values of what goes over the wire, a module a resource.

Each answer keeps the JSON object that it was read from in `.raw`, so that a field which the service adds
tomorrow can be used today. Ids are canonical lower-case UUID texts.
"""
