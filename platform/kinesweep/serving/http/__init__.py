"""The HTTP and WebSocket interface: authentication, limits, requests, metrics."""
