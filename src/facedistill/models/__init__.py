"""One architecture per file, heads, model files, foreign weights, ONNX networks."""
