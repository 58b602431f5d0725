"""The Train dock: views of training runs."""
