"""What a model could do beside computing: told by its files alone, nothing of which is run.

An exported model is a program. `salver.scanning.scan.scan` lists what in it can read, write, load
code or reach out.
"""
