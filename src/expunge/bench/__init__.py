"""Suites: methods x forget sets x originals -> results; and the audit of one model."""
