"""Tests on Ray: a package, so that its fixtures end with its last test."""
