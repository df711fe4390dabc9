"""Bytes at rest: the BlobStore seam and its backends."""
