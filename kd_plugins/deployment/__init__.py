"""Deployment of trained models: fusion for inference, and export of D-FINE to ONNX with a check."""
