"""What operators see: metrics, log lines, logs of requests, traces."""
