"""`probe`: a classical classifier on features of the frozen backbone, each picture seen once.

Logistic regression with C by cross-validation, a linear SVM, or nearest neighbours.
"""
