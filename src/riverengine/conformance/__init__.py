"""The adapter for River's conformance suite: JSON-RPC on stdin and stdout, adapter version 18.

``python -m riverengine.conformance`` lets the suite's harness, or any other program, drive this
engine as one of several implementations on one database. See docs/engine/conformance-adapter.md.
"""
