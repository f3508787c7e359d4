"""Where a run reports what it measures as it proceeds: files, TensorBoard, MLflow, Weights & Biases, own objects."""
