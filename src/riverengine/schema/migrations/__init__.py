"""Migrations as files, one folder per line: ``main`` is River's, ``riverengine`` holds our own.

``NNN_name.up.sql`` and ``NNN_name.down.sql``; the marker ``/* SCHEMA */`` stands in front of every
table, type, function and sequence.
"""
