"""Measurements of a broker process on this machine: what `make bench` runs. Never imported by the product."""
