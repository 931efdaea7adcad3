"""What a fit may be doubted for: labels, strangers, alarms, baselines, more data.

Knows arrays and tensors, no files and no tasks.
"""
