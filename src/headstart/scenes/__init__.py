"""Predicting a scene of any size: window by window, blended, in bounded memory, resumable."""
