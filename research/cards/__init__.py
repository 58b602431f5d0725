"""What `model_cards.py` writes the cards of the bundled models with."""
