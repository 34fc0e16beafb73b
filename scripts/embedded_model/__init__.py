"""How the embedded model is made: objects from signed distances, pictures of them, labels, training, measuring."""
