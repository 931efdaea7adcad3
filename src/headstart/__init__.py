"""Headstart: transfer learning from a folder of labelled data to a model you can trust."""
