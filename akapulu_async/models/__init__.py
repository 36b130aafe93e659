"""Frozen values of requests and answers, one module per resource.

Each answer keeps its JSON object in `.raw`, so a field that the service adds can be used at once. Ids are canonical
lower-case UUID texts.
"""
