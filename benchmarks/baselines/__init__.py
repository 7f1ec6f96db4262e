"""What the server is compared with; each module is a program with TensorFlow Serving's flags."""
