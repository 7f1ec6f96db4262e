"""A load generator for gRPC: what h2load does not do, and grpcio does too slowly.

h2load sends one request over and over, as fast as the answers come, and knows no gRPC
status. This one sends different requests, at given times where that is asked for, and tells
answers from refusals. It knows just enough HTTP/2 for that.
"""
