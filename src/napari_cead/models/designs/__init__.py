"""The families of networks of this package, one file each."""
