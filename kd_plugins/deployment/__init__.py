"""Deployment of trained models: fusion for inference, and export of D-FINE and RT-DETR to ONNX with a check."""
