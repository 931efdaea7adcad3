"""SOURCES: `load_backbone("timm:resnet50")` gives a pretrained module with its input contract."""
