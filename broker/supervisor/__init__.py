"""Starts, watches and stops every process of one machine. Imports nothing of Django."""
