"""Ports to the outside providers and one adapter for each.

Ports: :mod:`.identity`, :mod:`.payments`, :mod:`.lab`, :mod:`.notify`; every adapter raises only
:mod:`.errors`. Adapters take their settings as arguments and import their library when first used.
"""
