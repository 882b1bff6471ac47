"""Motion model files: loading (start with loading.py) and saving; new motion models, and replaced modules."""
