"""Serving of a bundle over HTTP and WebSocket, with replicas and dynamic batches on Ray Serve.

A request passes through three parts. `http` authenticates it and reads its body within limits;
`dispatch` sends the clip to a replica, again if the replica dies; `inference` translates the clips
of a batch in the replica, with the functions of `kinesweep translate`.
"""
