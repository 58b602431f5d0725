"""What training does to healthy slices: context encoding, noise, simulated lesions, augmentation."""
