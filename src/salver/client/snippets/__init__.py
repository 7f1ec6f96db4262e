"""A call of a model as source code in several languages, with its real inputs."""
